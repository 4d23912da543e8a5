/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A client with private memory, honest or not: what it asks, and what it says it has done. Its
 * guest_memfds are memfds, which kind "fake" takes for such.
 */
#ifndef STEP_RIG_H
#define STEP_RIG_H

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "call.h"
#include "gm_fd.h"
#include "service_rig.h"

#define STEP_SIZE (16 * GM_MIB)
#define STEP_RANGES_MAX 8

struct step_region {
	struct peer *peer;
	uint64_t id;
	uint64_t step;	/* of the last answer with one */
	uint64_t order; /* the standing one that came with the binding */
	int shared;	/* the VMM's fds of the two halves */
	int half;	/* -1: not yet */
};

static inline struct answer step_create(struct peer *peer, uint64_t domain, uint64_t gpa)
{
	Gmem__RegionCreateRequest request = GMEM__REGION_CREATE_REQUEST__INIT;

	request.has_domain = 1;
	request.domain = domain;
	request.has_gpa = 1;
	request.gpa = gpa;
	request.has_size = 1;
	request.size = STEP_SIZE;
	return peer_ask(peer, GM_MSG_REGION_CREATE, &request.base);
}

static inline struct step_region step_region(struct peer *peer, uint64_t domain, uint64_t gpa)
{
	struct answer answer = step_create(peer, domain, gpa);
	const Gmem__RegionCreateReply *reply = expect_reply(&answer);

	assert_non_null(reply->step);
	assert_int_equal(reply->step->kind, GMEM__STEP_KIND__STEP_CREATE_MEMORY);
	assert_int_equal(answer.frame.n_fds, 1);
	return (struct step_region){ .peer = peer,
				     .id = reply->region,
				     .step = reply->step->step,
				     .shared = answer.fds[0],
				     .half = -1 };
}

/* One that is converted in place: its one file is @half. */
static inline struct step_region step_region_in_place(struct peer *peer, uint64_t domain,
						      uint64_t gpa)
{
	struct answer answer = step_create(peer, domain, gpa);
	const Gmem__RegionCreateReply *reply = expect_reply(&answer);

	assert_int_equal(answer.frame.n_fds, 0);
	assert_int_equal(reply->n_fd_names, 0);
	assert_non_null(reply->step);
	assert_int_equal(reply->step->memory_flags, 1);
	return (struct step_region){ .peer = peer,
				     .id = reply->region,
				     .step = reply->step->step,
				     .shared = -1,
				     .half = -1 };
}

static inline void step_region_close(struct step_region *region)
{
	gm_fd_close(region->shared);
	gm_fd_close(region->half);
	region->shared = region->half = -1;
}

/* FD_BOX, and its answer once a worker has the other end. */
static inline struct answer step_open_box(struct peer *peer, uint64_t domain)
{
	Gmem__FdBoxRequest request = GMEM__FD_BOX_REQUEST__INIT;
	struct gm_crew_job *job;
	uint32_t serial;
	struct answer answer;

	request.has_domain = 1;
	request.domain = domain;
	serial = peer_send(peer, GM_MSG_FD_BOX, &request.base);
	job = fake_crew_last(peer->rig->hub);
	if (job != NULL && fake_crew_order(job)->verb == GM_JOB_RECEIVE)
		fake_crew_ready(job);
	answer = peer_take(peer);
	assert_int_equal(answer.frame.serial, serial);
	return answer;
}

/* A box for the domain, of which the client has sent nothing yet. */
static inline uint64_t step_empty_box(struct peer *peer, uint64_t domain)
{
	struct answer answer = step_open_box(peer, domain);
	const Gmem__FdBoxReply *reply = expect_reply(&answer);

	assert_int_equal(answer.frame.n_fds, 1);
	assert_true(bytes_equal(reply->fd_names[0], "box"));
	answer_close(&answer);
	return reply->box;
}

/* One in which a copy of @fd has come, and that a worker, which may lie, has let pass. */
static inline uint64_t step_box(struct peer *peer, uint64_t domain, int fd)
{
	uint64_t box = step_empty_box(peer, domain);

	fake_crew_give(fake_crew_last(peer->rig->hub), gm_fd_dup(fd));
	return box;
}

/* The domain of the region; else any of the peer's; 0: it has none. */
static inline uint64_t step_domain_of(const struct peer *peer, uint64_t id)
{
	const struct gm_session *session = peer->link->session;
	struct gm_region *region = NULL;

	while ((region = gm_book_next_region(&peer->rig->book, region)) != NULL)
		if (region->id.v == id && region->domain->session == session)
			return region->domain->id.v;
	return TAILQ_EMPTY(&session->domains) ? 0 : TAILQ_FIRST(&session->domains)->id.v;
}

static inline uint32_t step_send_memory(struct peer *peer, uint64_t region, uint64_t step,
					uint64_t box)
{
	Gmem__StepMemoryRequest request = GMEM__STEP_MEMORY_REQUEST__INIT;

	request.has_region = 1;
	request.region = region;
	request.has_step = 1;
	request.step = step;
	request.has_box = 1;
	request.box = box;
	return peer_send(peer, GM_MSG_STEP_MEMORY, &request.base);
}

/* STEP_MEMORY with a copy of @fd. */
static inline struct answer step_memory(struct peer *peer, uint64_t region, uint64_t step, int fd)
{
	uint64_t domain = step_domain_of(peer, region);
	uint64_t box = domain != 0 ? step_box(peer, domain, fd) : 0;
	uint32_t serial = step_send_memory(peer, region, step, box);
	struct answer answer = peer_take(peer);

	assert_int_equal(answer.frame.serial, serial);
	return answer;
}

static inline struct answer step_bind(struct step_region *region)
{
	Gmem__RegionBindRequest request = GMEM__REGION_BIND_REQUEST__INIT;
	struct answer answer;

	request.has_region = 1;
	request.region = region->id;
	answer = peer_ask(region->peer, GM_MSG_REGION_BIND, &request.base);
	if (answer.status == NULL)
		region->step = ((const Gmem__RegionBindReply *)answer.reply)->step->step;
	return answer;
}

static inline void step_fill_ranges(const struct gm_range *ranges, size_t n, Gmem__Range *messages,
				    Gmem__Range **pointers)
{
	assert_true(n <= STEP_RANGES_MAX);
	for (size_t i = 0; i < n; i++) {
		gmem__range__init(&messages[i]);
		messages[i].has_offset = 1;
		messages[i].offset = ranges[i].offset;
		messages[i].has_length = 1;
		messages[i].length = ranges[i].length;
		pointers[i] = &messages[i];
	}
}

/* Sends CONVERT and returns its serial: in place the answer comes later. */
static inline uint32_t step_ask(const struct step_region *region, Gmem__PageState to,
				const struct gm_range *ranges, size_t n)
{
	Gmem__ConvertRequest request = GMEM__CONVERT_REQUEST__INIT;
	Gmem__Range messages[STEP_RANGES_MAX], *pointers[STEP_RANGES_MAX];

	step_fill_ranges(ranges, n, messages, pointers);
	request.has_region = 1;
	request.region = region->id;
	request.has_to = 1;
	request.to = to;
	request.n_ranges = n;
	request.ranges = pointers;
	return peer_send(region->peer, GM_MSG_CONVERT, &request.base);
}

static inline struct answer step_convert(struct step_region *region, Gmem__PageState to,
					 const struct gm_range *ranges, size_t n)
{
	uint32_t serial = step_ask(region, to, ranges, n);
	struct answer answer = peer_take(region->peer);
	const Gmem__ConvertReply *reply = answer.reply;

	assert_int_equal(answer.frame.serial, serial);
	if (answer.status == NULL && reply->step != NULL)
		region->step = reply->step->step;
	return answer;
}

/* Sends STEP_DONE and returns its serial: the answer may come later. */
static inline uint32_t step_report(struct peer *peer, uint64_t region, uint64_t step,
				   uint32_t sys_errno, uint32_t done, const struct gm_range *ranges,
				   size_t n)
{
	Gmem__StepDoneRequest request = GMEM__STEP_DONE_REQUEST__INIT;
	Gmem__Range messages[STEP_RANGES_MAX], *pointers[STEP_RANGES_MAX];

	step_fill_ranges(ranges, n, messages, pointers);
	request.has_region = 1;
	request.region = region;
	request.has_step = 1;
	request.step = step;
	request.has_sys_errno = 1;
	request.sys_errno = sys_errno;
	request.has_done = 1;
	request.done = done;
	request.n_ranges = n;
	request.ranges = pointers;
	return peer_send(peer, GM_MSG_STEP_DONE, &request.base);
}

static inline struct answer step_done(struct step_region *region, uint32_t sys_errno, uint32_t done,
				      const struct gm_range *ranges, size_t n)
{
	uint32_t serial =
		step_report(region->peer, region->id, region->step, sys_errno, done, ranges, n);
	struct answer answer = peer_take(region->peer);

	assert_int_equal(answer.frame.serial, serial);
	return answer;
}

static inline void step_expect_good(struct answer answer)
{
	(void)expect_reply(&answer);
	answer_close(&answer);
}

/* From the answer to STEP_DONE, where there is one. */
static inline void step_take_order(struct step_region *region, struct answer answer)
{
	const Gmem__StepDoneReply *reply = expect_reply(&answer);

	if (reply->order != NULL)
		region->order = reply->order->order;
	answer_close(&answer);
}

/* Up to and with its private half. */
static inline void step_make_half(struct step_region *region)
{
	region->half = gm_fake_make_half(STEP_SIZE);
	assert_true(region->half >= 0);
	step_expect_good(step_memory(region->peer, region->id, region->step, region->half));
}

static inline struct step_region step_bound_region(struct peer *peer, uint64_t domain, uint64_t gpa)
{
	struct step_region region = step_region(peer, domain, gpa);

	step_make_half(&region);
	step_expect_good(step_bind(&region));
	step_take_order(&region, step_done(&region, 0, 0, NULL, 0));
	return region;
}

struct step_conversion {
	struct gm_range range;
	Gmem__PageState to;
};

/* Sends CONVERTED and returns its serial: the answer may come later. */
static inline uint32_t step_converted(const struct step_region *region, uint64_t number,
				      const struct step_conversion *done, size_t n)
{
	Gmem__ConvertedRequest request = GMEM__CONVERTED_REQUEST__INIT;
	uint64_t numbers[2 * STEP_RANGES_MAX];

	assert_true(n <= STEP_RANGES_MAX);
	for (size_t i = 0; i < n; i++) {
		numbers[2 * i] = done[i].range.offset + done[i].to;
		numbers[2 * i + 1] = done[i].range.length;
	}
	request.has_region = 1;
	request.region = region->id;
	request.has_order = 1;
	request.order = region->order;
	request.has_number = 1;
	request.number = number;
	request.n_conversions = 2 * n;
	request.conversions = numbers;
	return peer_send(region->peer, GM_MSG_CONVERTED, &request.base);
}

static inline void step_fill(int fd, const struct gm_range *range)
{
	assert_int_equal(fallocate(fd, 0, (off_t)range->offset, (off_t)range->length), 0);
}

static inline void step_punch(int fd, const struct gm_range *range)
{
	assert_int_equal(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
				   (off_t)range->offset, (off_t)range->length),
			 0);
}

static inline uint64_t step_blocks(int fd)
{
	struct stat st;

	assert_int_equal(fstat(fd, &st), 0);
	return (uint64_t)st.st_blocks * 512;
}

/* What the books say. */
static inline uint64_t step_pages(const struct rig *rig, uint64_t id, enum gm_page_state state)
{
	struct gm_region *region = NULL;

	while ((region = gm_book_next_region(&rig->book, region)) != NULL)
		if (region->id.v == id)
			return region->map.pages[state] * GM_PAGE_4K;
	fail_msg("no such region");
	return 0;
}

#endif
