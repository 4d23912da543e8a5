/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A plan is text, one step a line:
 *
 *	gmemd-plan 1 KIND DIGEST
 *	TYPE GPA TAG...		pages whose contents are measured, each with its tag
 *	TYPE GPA *PAGES		pages whose contents are not
 *
 * GPA is - where the platform does not measure addresses. Registers of vCPUs are pages of type
 *vcpu.
 */
#include "exec_plan.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fcntl.h>

#include "gm_cleanup.h"
#include "gm_fd.h"

#define HEADER "gmemd-plan 1 "

static const char *const type_names[GM_POPULATE_N_] = {
	[GM_POPULATE_NORMAL] = "normal",	 [GM_POPULATE_ZERO] = "zero",
	[GM_POPULATE_UNMEASURED] = "unmeasured", [GM_POPULATE_SECRETS] = "secrets",
	[GM_POPULATE_CPUID] = "cpuid",		 [GM_POPULATE_VCPU] = "vcpu",
};

/* ---- reading: a page at a time ---- */

struct reader {
	const char *at, *end;
	bool bad;
	enum gm_populate_type type; /* of the line; NONE: the plan is over */
	bool has_gpa;
	bool is_tagged;
	uint64_t gpa;	 /* of the page */
	uint64_t n_left; /* pages of a line without tags, this one included */
	uint64_t tag;
};

static bool skip(struct reader *reader, char c)
{
	if (reader->at == reader->end || *reader->at != c)
		return false;
	reader->at++;
	return true;
}

static bool read_number(struct reader *reader, unsigned base, unsigned max_digits, uint64_t *ret)
{
	static const char digits[] = "0123456789abcdef";
	uint64_t value = 0;
	unsigned n = 0;

	for (; reader->at < reader->end && n < max_digits; n++, reader->at++) {
		const char *digit = *reader->at ? strchr(digits, *reader->at) : NULL;

		if (!digit || (unsigned)(digit - digits) >= base)
			break;
		value = value * base + (unsigned)(digit - digits);
	}
	*ret = value;
	return n > 0;
}

/* All of its digits, and nothing that belongs to it behind them. */
static bool read_tag(struct reader *reader)
{
	const char *start = reader->at;

	return read_number(reader, 16, 16, &reader->tag) && reader->at - start == 16 &&
	       reader->at < reader->end && (*reader->at == ' ' || *reader->at == '\n');
}

static bool read_type(struct reader *reader)
{
	size_t left = (size_t)(reader->end - reader->at);

	for (unsigned type = GM_POPULATE_NORMAL; type < GM_POPULATE_N_; type++) {
		size_t n = strlen(type_names[type]);

		if (n >= left || memcmp(reader->at, type_names[type], n) != 0 ||
		    reader->at[n] != ' ')
			continue;
		reader->at += n + 1;
		reader->type = (enum gm_populate_type)type;
		return true;
	}
	return false;
}

static bool read_gpa(struct reader *reader)
{
	reader->has_gpa = !skip(reader, '-');
	reader->gpa = 0;
	if (!reader->has_gpa)
		return true;
	return skip(reader, '0') && skip(reader, 'x') && read_number(reader, 16, 16, &reader->gpa);
}

static bool read_pages(struct reader *reader)
{
	if (!skip(reader, ' '))
		return false;
	reader->is_tagged = !skip(reader, '*');
	if (reader->is_tagged)
		return read_tag(reader);
	return read_number(reader, 10, 12, &reader->n_left) && reader->n_left > 0 &&
	       skip(reader, '\n');
}

static void read_line(struct reader *reader)
{
	reader->type = GM_POPULATE_NONE;
	if (reader->at == reader->end)
		return;
	reader->bad = !read_type(reader) || !read_gpa(reader) || !read_pages(reader);
	if (reader->bad)
		reader->type = GM_POPULATE_NONE;
}

static void next_page(struct reader *reader)
{
	reader->gpa += GM_PAGE_4K;
	if (!reader->is_tagged && --reader->n_left > 0)
		return;
	if (reader->is_tagged && skip(reader, ' ')) {
		reader->bad = !read_tag(reader);
		return;
	}
	if (reader->is_tagged && !skip(reader, '\n'))
		reader->bad = true;
	if (!reader->bad)
		read_line(reader);
}

static bool open_plan(struct reader *reader, const char *plan, size_t length)
{
	const char *line = memchr(plan, '\n', length);

	if (length < sizeof(HEADER) || memcmp(plan, HEADER, sizeof(HEADER) - 1) != 0 || !line)
		return false;
	*reader = (struct reader){ .at = line + 1, .end = plan + length };
	read_line(reader);
	return !reader->bad;
}

/* ---- comparing ---- */

struct text {
	char *to;
	size_t step;
};

static void describe(const struct reader *reader, char *text, size_t size)
{
	if (reader->type == GM_POPULATE_NONE)
		(void)snprintf(text, size, "nothing more");
	else if (reader->type == GM_POPULATE_VCPU)
		(void)snprintf(text, size, "a vCPU");
	else if (reader->has_gpa)
		(void)snprintf(text, size, "%s page %#" PRIx64, type_names[reader->type],
			       reader->gpa);
	else
		(void)snprintf(text, size, "a %s page", type_names[reader->type]);
}

/* Pages from the reader's on that are alike without a look: those that have no tags. */
static uint64_t alike(const struct reader *reader, uint64_t n_pages)
{
	return reader->is_tagged ? 1 : gm_min_u64(reader->n_left, n_pages);
}

static bool differ_in_row(struct reader *reader, const struct gm_trail *trail,
			  const struct gm_trail_row *row, const struct text *text)
{
	uint64_t left = row->n_pages, gpa = row->gpa, n;
	const uint64_t *tag = &trail->tags[row->first_tag];
	char planned[64];

	for (; left > 0 && !reader->bad; left -= n, gpa += n * GM_PAGE_4K) {
		if (reader->type != row->type || (reader->has_gpa && reader->gpa != gpa) ||
		    reader->is_tagged != (row->n_tags > 0)) {
			describe(reader, planned, sizeof(planned));
			(void)snprintf(text->to, GM_PLAN_TEXT_MAX,
				       "step %zu, %s page %#" PRIx64 ": the plan has %s",
				       text->step, type_names[row->type], gpa, planned);
			return true;
		}
		n = alike(reader, left);
		if (row->n_tags > 0 && reader->tag != *tag++) {
			(void)snprintf(text->to, GM_PLAN_TEXT_MAX,
				       "step %zu, %s page %#" PRIx64 ": contents %016" PRIx64
				       "..., not %016" PRIx64 "...",
				       text->step, type_names[row->type], gpa, tag[-1],
				       reader->tag);
			return true;
		}
		if (n > 1) {
			reader->n_left -= n - 1;
			reader->gpa += (n - 1) * GM_PAGE_4K;
		}
		next_page(reader);
	}
	return false;
}

static bool differ_in_vcpus(struct reader *reader, const struct gm_plan_launch *launch,
			    const struct text *text)
{
	const struct gm_launch_vcpus *vcpus = launch->vcpus;
	char planned[64];
	uint32_t i = 0;

	for (; i < vcpus->count && !reader->bad; i++) {
		uint64_t tag = launch->vcpu_tags[i == 0 ? 0 : 1];

		if (reader->type != GM_POPULATE_VCPU)
			break;
		if (reader->tag != tag) {
			(void)snprintf(
				text->to, GM_PLAN_TEXT_MAX,
				"vCPU %" PRIu32 ": other registers than planned; told: %s, "
				"signature %#" PRIx32 ", entry %#" PRIx64 ", features %#" PRIx64,
				i, vcpus->vmm, vcpus->signature, vcpus->entry, vcpus->features);
			return true;
		}
		next_page(reader);
	}
	if (i == vcpus->count && reader->type == GM_POPULATE_NONE)
		return false;
	describe(reader, planned, sizeof(planned));
	(void)snprintf(text->to, GM_PLAN_TEXT_MAX, "%" PRIu32 " vCPUs, then the plan has %s", i,
		       planned);
	if (i < vcpus->count)
		(void)snprintf(text->to, GM_PLAN_TEXT_MAX,
			       "after %" PRIu32 " of %" PRIu32 " vCPUs the plan has %s", i,
			       vcpus->count, planned);
	return true;
}

static bool differ_at_end(struct reader *reader, const struct gm_plan_launch *launch,
			  const struct text *text)
{
	char planned[64];

	if (launch->vcpu_tags != NULL && reader->type == GM_POPULATE_VCPU)
		return differ_in_vcpus(reader, launch, text);
	if (reader->type == GM_POPULATE_NONE)
		return false;
	if (reader->type == GM_POPULATE_VCPU) {
		(void)snprintf(
			text->to, GM_PLAN_TEXT_MAX,
			"all pages are as planned: the vCPUs' registers, or their number, are "
			"not");
		return true;
	}
	describe(reader, planned, sizeof(planned));
	(void)snprintf(text->to, GM_PLAN_TEXT_MAX,
		       "the launch ends before step %zu: the plan has %s", text->step, planned);
	return true;
}

bool gm_plan_differ(const char *plan, size_t length, const struct gm_plan_launch *launch,
		    size_t *ret_step, char ret_text[GM_PLAN_TEXT_MAX])
{
	const struct gm_trail *trail = launch->trail;
	struct text text = { .to = ret_text };
	struct reader reader;
	bool differs = false;

	if (trail == NULL || !open_plan(&reader, plan, length))
		return false;
	for (size_t i = 0; i < trail->n_rows && !differs; i++) {
		text.step = i + 1;
		differs = differ_in_row(&reader, trail, &trail->rows[i], &text);
	}
	if (!differs && !trail->cut) {
		text.step = trail->n_rows + 1;
		differs = differ_at_end(&reader, launch, &text);
	}
	if (!differs && trail->cut) {
		text.step = trail->n_rows + 1;
		(void)snprintf(ret_text, GM_PLAN_TEXT_MAX,
			       "after step %zu, from where on nothing was kept", trail->n_rows);
		differs = true;
	}
	*ret_step = text.step;
	return differs && !reader.bad;
}

/* ---- files ---- */

/* Only the operator's own word counts: nobody else may have written it. */
static int open_file(const char *folder, const struct gm_measurement *measurement, size_t *ret_size)
{
	char path[GM_POLICY_PATH_MAX + 2 + 2 * GM_MEASUREMENT_MAX];
	int n = snprintf(path, sizeof(path), "%s/", folder);
	_gm_close_ int fd = -1;
	struct stat st;

	for (unsigned i = 0; i < measurement->size; i++)
		n += snprintf(path + n, sizeof(path) - (size_t)n, "%02x", measurement->bytes[i]);
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK | O_NOFOLLOW);
	if (fd < 0 || fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode) || (st.st_uid != 0 && st.st_uid != geteuid()) ||
	    (st.st_mode & (S_IWGRP | S_IWOTH)) || st.st_size <= 0 ||
	    (uint64_t)st.st_size > GM_PLAN_SIZE_MAX)
		return -EPERM;
	*ret_size = (size_t)st.st_size;
	return gm_take_fd(&fd);
}

static char *read_plan(const char *folder, const struct gm_measurement *measurement,
		       size_t *ret_length)
{
	size_t size = 0, length = 0;
	_gm_close_ int fd = open_file(folder, measurement, &size);
	_gm_free_ char *text = fd >= 0 ? malloc(size + 1) : NULL;

	while (text != NULL && length < size) {
		ssize_t n = pread(fd, text + length, size - length, (off_t)length);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			break;
		length += (size_t)n;
	}
	if (text == NULL || length != size)
		return NULL;
	*ret_length = length;
	return gm_take_ptr(&text);
}

bool gm_plan_explain(const struct gm_policy *policy, const struct gm_plan_launch *launch,
		     char ret_text[GM_PLAN_TEXT_MAX])
{
	char text[GM_PLAN_TEXT_MAX];
	size_t best = 0, step;

	if (launch->trail == NULL || launch->trail->n_asked == GM_PLAN_ASKED_MAX)
		return false;
	launch->trail->n_asked++;
	for (unsigned i = 0; policy->launch_plans[0] != '\0' && i < policy->n_measurements; i++) {
		size_t length;
		_gm_free_ char *plan =
			read_plan(policy->launch_plans, &policy->measurements[i], &length);

		if (plan == NULL || !gm_plan_differ(plan, length, launch, &step, text) ||
		    step <= best)
			continue;
		best = step;
		memcpy(ret_text, text, sizeof(text));
	}
	return best > 0;
}
