/* SPDX-License-Identifier: Apache-2.0 */
#include "record.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "fd_store.h"
#include "gm_fault.h"
#include "log.h"

/* A keeper that was too busy is asked again after this. */
#define RETRY_MS 10

_Static_assert(GM_KEPT_BODY_MAX == GM_STORE_BODY_MAX, "an answer that is kept fits the record");
_Static_assert(GM_KEPT_ANSWERS == GM_STORE_ANSWERS, "as many as a session may have unanswered");

static void fill_answer(struct gm_session *session, const struct gm_kept_answer *kept,
			struct gm_store_answer *answer)
{
	*answer = (struct gm_store_answer){
		.session = session,
		.serial = kept->serial,
		.type = kept->type,
		.flags = GM_FRAME_ANSWER,
		.length = kept->length,
	};
	memcpy(answer->body, kept->body, kept->length);
}

/*
 * Room was asked for before anything was made, so that a commit finds room. Should it find none all
 * the same, what is marked stays marked: the next commit records it.
 */
static void check_commit(struct gm_record *record, int result)
{
	if (result != 0 && !record->failed)
		gm_log(LOG_ERR,
		       "the record has no room for what has changed: if gmemd were killed now, "
		       "something would be lost");
	record->failed = result != 0;
}

static void commit(struct gm_record *record, struct gm_session *session,
		   const struct gm_kept_answer *kept)
{
	struct gm_store_answer answer;

	if (kept == NULL) {
		if (!gm_marks_are_clear(&record->book->marks))
			check_commit(record, gm_store_commit(record->store, record->book, NULL));
		return;
	}
	fill_answer(session, kept, &answer);
	check_commit(record, gm_store_commit(record->store, record->book, &answer));
	explicit_bzero(&answer, sizeof(answer));
}

static bool on_find_answer(void *arg, const struct gm_session *session, uint32_t serial,
			   struct gm_kept_answer *ret_answer)
{
	const struct gm_record *record = arg;
	struct gm_store_answer answer;

	if (!gm_store_find_answer(record->store, session, serial, &answer) ||
	    answer.length > sizeof(ret_answer->body))
		return false;
	*ret_answer = (struct gm_kept_answer){
		.serial = answer.serial,
		.type = answer.type,
		.length = answer.length,
	};
	memcpy(ret_answer->body, answer.body, answer.length);
	explicit_bzero(&answer, sizeof(answer));
	return true;
}

static int on_room_for_session(void *arg, struct gm_refusal *refusal)
{
	const struct gm_record *record = arg;

	return gm_store_room_for_session(record->store, refusal);
}

static int on_room_for_domain(void *arg, struct gm_refusal *refusal)
{
	const struct gm_record *record = arg;

	return gm_store_room_for_domain(record->store, refusal);
}

static int on_room_for_region(void *arg, uint64_t size, struct gm_refusal *refusal)
{
	const struct gm_record *record = arg;

	return gm_store_room_for_region(record->store, size, refusal);
}

static int on_room_for_launch(void *arg, struct gm_refusal *refusal)
{
	const struct gm_record *record = arg;

	return gm_store_room_for_launch(record->store, refusal);
}

/* ---- fds ---- */

struct gm_unremoved {
	enum gm_stored_kind kind;
	uint32_t number;
};

static int remove_now(const struct gm_record *record, const struct gm_unremoved *what)
{
	char name[GM_STORED_NAME_SIZE];

	gm_stored_name(what->kind, what->number, name);
	return record->keeper->remove(record->keeper_arg, name);
}

static int remove_waiting(struct gm_record *record)
{
	size_t n = 0;
	int r = 0;

	while (n < record->n_unremoved && r == 0) {
		r = remove_now(record, &record->unremoved[n]);
		n += r == 0;
	}
	record->n_unremoved -= n;
	if (n > 0)
		memmove(record->unremoved, record->unremoved + n,
			record->n_unremoved * sizeof(record->unremoved[0]));
	return r;
}

static void on_retry(void *arg)
{
	struct gm_record *record = arg;

	if (remove_waiting(record) < 0)
		record->loop.ops->timer_set(record->retry, RETRY_MS);
}

static void remove_later(struct gm_record *record, const struct gm_unremoved *what)
{
	if (record->n_unremoved == record->max_unremoved) {
		size_t max = record->max_unremoved * 2 + 16;
		struct gm_unremoved *more =
			reallocarray(record->unremoved, max, sizeof(record->unremoved[0]));

		if (more == NULL) {
			gm_log(LOG_ERR, "out of memory: an fd stays in the fd store");
			return;
		}
		record->unremoved = more;
		record->max_unremoved = max;
	}
	record->unremoved[record->n_unremoved++] = *what;
	if (record->retry != NULL)
		record->loop.ops->timer_set(record->retry, RETRY_MS);
}

void gm_record_remove(struct gm_record *record, enum gm_stored_kind kind, uint32_t number)
{
	const struct gm_unremoved what = { .kind = kind, .number = number };

	if (record->n_unremoved > 0 || remove_now(record, &what) < 0)
		remove_later(record, &what);
}

static int push(struct gm_record *record, enum gm_stored_kind kind, uint32_t number, int fd)
{
	char name[GM_STORED_NAME_SIZE];
	int r = remove_waiting(record);

	assert(number != 0);
	if (r < 0)
		return r;
	gm_stored_name(kind, number, name);
	return record->keeper->push(record->keeper_arg, name, fd);
}

int gm_record_start(struct gm_record *record, struct gm_loop_ref loop)
{
	record->loop = loop;
	return loop.ops->timer_new(loop.loop, on_retry, record, &record->retry);
}

void gm_record_done(struct gm_record *record)
{
	if (record->retry != NULL)
		record->loop.ops->watch_free(record->retry);
	record->retry = NULL;
	free(record->unremoved);
	record->unremoved = NULL;
	record->n_unremoved = record->max_unremoved = 0;
}

/* Without a pidfd (Linux before 6.5) the next daemon gives the session some time to come back. */
static int on_hold(void *arg, const struct gm_session *session, int pidfd)
{
	struct gm_record *record = arg;

	if (pidfd < 0 || session->mark.record == 0)
		return 0;
	GM_FAULT_POINT("session: to be held");
	return push(record, GM_STORED_PIDFD, session->mark.record, pidfd);
}

/*
 * Not before the commit: a daemon that starts in between would find the session, what it has, and
 * no process to watch.
 */
static void on_let_go(void *arg, const struct gm_session *session)
{
	struct gm_record *record = arg;
	const struct gm_unremoved what = { .kind = GM_STORED_PIDFD,
					   .number = session->mark.record };

	if (what.number == 0)
		return;
	remove_later(record, &what);
	record->lets_go = true;
}

static void on_commit(void *arg, struct gm_session *session, const struct gm_kept_answer *kept)
{
	struct gm_record *record = arg;

	commit(record, session, kept);
	if (!record->lets_go)
		return;
	record->lets_go = false;
	GM_FAULT_POINT("session: off the record");
	/* What the keeper is too busy for has its timer. */
	(void)remove_waiting(record);
}

static bool on_resumed(void *arg, const struct gm_session *session)
{
	const struct gm_record *record = arg;

	return gm_guards_forget(record->guards, session);
}

static int on_pidfd(void *arg, const struct gm_session *session)
{
	const struct gm_record *record = arg;

	return record->guards != NULL ? gm_guards_pidfd(record->guards, session) : -1;
}

const struct gm_recorder_ops gm_record_recorder_ops = {
	.commit = on_commit,
	.find_answer = on_find_answer,
	.room_for_session = on_room_for_session,
	.room_for_domain = on_room_for_domain,
	.room_for_region = on_room_for_region,
	.room_for_launch = on_room_for_launch,
	.hold = on_hold,
	.let_go = on_let_go,
	.pidfd = on_pidfd,
	.resumed = on_resumed,
};

static int refuse_keep(int error, struct gm_refusal *refusal)
{
	gm_refuse_text(refusal, GM_NO_RESOURCE, GM_RULE_FDS_MAX, "host",
		       "whoever keeps fds for a restart takes no more now: %s",
		       gm_strerror(-error));
	refusal->sys_errno = (uint32_t)-error;
	return GM_NO_RESOURCE;
}

/* The number of its record is part of the fd's name, so that is settled first. */
static int on_keep(void *arg, struct gm_region *region, struct gm_refusal *refusal)
{
	struct gm_record *record = arg;
	int r;

	r = gm_store_reserve(record->store, &region->mark);
	if (r < 0)
		return r;
	GM_FAULT_POINT("region: has a record");
	r = push(record, GM_STORED_REGION, region->mark.record, region->fd);
	GM_FAULT_POINT("region: in the fd store");
	return r == 0 ? 0 : refuse_keep(r, refusal);
}

/*
 * A step that has been tried before may have left a file under this name, which nobody has booked:
 * the next daemon finds the right one by its identity.
 */
static int on_keep_half(void *arg, struct gm_region *region, int fd, struct gm_refusal *refusal)
{
	int r = push(arg, GM_STORED_HALF, region->mark.record, fd);

	GM_FAULT_POINT("half: in the fd store");
	return r == 0 ? 0 : refuse_keep(r, refusal);
}

/* The domain has had its record since it was made. */
static int on_keep_vm(void *arg, struct gm_domain *domain, int fd, struct gm_refusal *refusal)
{
	int r = push(arg, GM_STORED_VM, domain->mark.record, fd);

	return r == 0 ? 0 : refuse_keep(r, refusal);
}

static void on_vm_let_go(void *arg, uint32_t number)
{
	gm_record_remove(arg, GM_STORED_VM, number);
}

static void on_begin(void *arg)
{
	on_commit(arg, NULL, NULL);
}

static void on_region_let_go(void *arg, uint32_t number, bool has_half)
{
	/* It holds a VM, so it goes first. */
	if (has_half) {
		gm_record_remove(arg, GM_STORED_HALF, number);
		GM_FAULT_POINT("half: out of the fd store");
	}
	gm_record_remove(arg, GM_STORED_REGION, number);
}

const struct gm_exec_keep_ops gm_record_keep_ops = {
	.keep = on_keep,
	.keep_half = on_keep_half,
	.keep_vm = on_keep_vm,
	.let_go_vm = on_vm_let_go,
	.begin = on_begin,
	.let_go = on_region_let_go,
};
