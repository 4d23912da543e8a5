/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The contract of backend.h as cases, each run against every kind that works on this host and the
 * fake, at every page size. The host's hugepage pools are raised for it and put back.
 */
#include <stdlib.h>
#include <string.h>

#include "fake.h"
#include "hugepages.h"
#include "subject.h"

#define SUBJECTS_MAX 16
#define CASES_MAX 512

/* Free hugepages that the cases need beyond a region: something to take away. */
#define SPARE_PAGES 1

static struct subject subjects[SUBJECTS_MAX];
static size_t n_subjects;
static struct CMUnitTest tests[CASES_MAX];
static char names[CASES_MAX][128];
static size_t n_tests;

static uint64_t memory_available(void)
{
	unsigned long long kib = 0;
	char line[128];
	FILE *file = fopen("/proc/meminfo", "re");

	while (file && fgets(line, sizeof(line), file)) {
		if (sscanf(line, "MemAvailable: %llu kB", &kib) == 1)
			break;
	}
	if (file)
		(void)fclose(file);
	return kib * GM_KIB;
}

/* Regions small enough to be quick, and large enough to have a middle where that is cheap. */
static uint64_t pages_for(uint64_t page_size)
{
	if (page_size == GM_PAGE_4K)
		return 64;
	return page_size == GM_PAGE_2M ? 4 : 2;
}

static bool is_hugetlb(const struct subject *subject)
{
	return strcmp(subject->backend->kind, "memfd") == 0 && subject->page_size != GM_PAGE_4K;
}

static void find_pages(struct subject *subject)
{
	uint64_t needed = subject->n_pages + SPARE_PAGES;

	if (!is_hugetlb(subject))
		return;
	/* Gibibytes are asked of the host only where they are no burden. */
	if (memory_available() / 4 < needed * subject->page_size) {
		subject->short_of_pages = true;
		return;
	}
	subject->short_of_pages = hugepages_want(subject->page_size, needed) < needed;
}

static void add_subject(const struct gm_backend *backend, struct gm_backend_state *state,
			const struct gm_probe *probe, uint64_t page_size)
{
	static const char *const size_names[] = { "4K", "2M", "1G" };
	struct subject *subject = &subjects[n_subjects++];

	*subject = (struct subject){
		.backend = backend,
		.state = state,
		.probe = *probe,
		.page_size = page_size,
		.n_pages = pages_for(page_size),
	};
	(void)snprintf(subject->name, sizeof(subject->name), "%s %s", backend->kind,
		       size_names[(__builtin_ctzll(page_size) - 12) / 9]);
	find_pages(subject);
}

static bool add_backend(const struct gm_backend *backend)
{
	struct gm_backend_state *state;
	struct gm_probe probe;

	if (backend->open(&state, &probe) != 0) {
		print_error("%s: cannot be probed\n", backend->kind);
		return false;
	}
	print_message("%s: %s: %s\n", backend->kind, probe.usable ? "usable" : "skipped",
		      probe.reason);
	/* The fake's gibibytes are 4K pages: slow to touch, and they show nothing new. */
	if (backend == &gm_fake_backend)
		probe.page_sizes &= ~GM_PAGE_1G;
	for (uint64_t size = GM_PAGE_4K; size <= GM_PAGE_1G; size <<= 1) {
		if (probe.usable && (probe.page_sizes & size))
			add_subject(backend, state, &probe, size);
	}
	if (!probe.usable)
		backend->close(state);
	return true;
}

static bool applies(const struct contract_case *contract_case, const struct subject *subject)
{
	switch (contract_case->filter) {
	case FOR_ALL:
		return true;
	case FOR_SEALED:
		return subject->probe.caps & GM_CAP_SEALED;
	case FOR_HUGE:
		return is_hugetlb(subject);
	case FOR_NUMA:
		return (subject->probe.caps & GM_CAP_NUMA) && subject->page_size == GM_PAGE_4K;
	}
	return false;
}

static void add_cases(const struct contract_case *cases, struct subject *subject)
{
	for (; cases->name; cases++) {
		if (!applies(cases, subject) || n_tests == CASES_MAX)
			continue;
		(void)snprintf(names[n_tests], sizeof(names[n_tests]), "%s: %s", subject->name,
			       cases->name);
		tests[n_tests] = (struct CMUnitTest){
			.name = names[n_tests],
			.test_func = cases->run,
			.setup_func = gm_test_setup,
			.teardown_func = gm_test_teardown,
			.initial_state = subject,
		};
		n_tests++;
	}
}

static void close_subjects(void)
{
	for (size_t i = 0; i < n_subjects; i++) {
		if (i == 0 || subjects[i].state != subjects[i - 1].state)
			subjects[i].backend->close(subjects[i].state);
	}
}

int main(void)
{
	bool probed = true;
	int r;

	if (hugepages_open() < 0)
		print_message("the host's hugepage pools cannot be changed\n");
	if (!gm_fake_reset())
		return EXIT_FAILURE;
	for (size_t i = 0; gm_backends[i]; i++)
		probed = add_backend(gm_backends[i]) && probed;
	for (size_t i = 0; i < n_subjects; i++) {
		add_cases(create_cases, &subjects[i]);
		add_cases(fd_cases, &subjects[i]);
		add_cases(range_cases, &subjects[i]);
		add_cases(huge_cases, &subjects[i]);
	}
	r = gm_test_run("contract", tests, n_tests);
	close_subjects();
	hugepages_close();
	return probed ? r : EXIT_FAILURE;
}
