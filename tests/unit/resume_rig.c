/* SPDX-License-Identifier: Apache-2.0 */
#include "resume_rig.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "call.h"
#include "gm_fd.h"

static const struct gm_store_limits limits = {
	.tenants = 4, .sessions = 16, .domains = 32, .regions = 32, .map_gibs = 64
};

int resume_pidfd = -1;
pid_t resume_pid;
int (*resume_memlock)(pid_t pid, const struct gm_limits *want, struct gm_limits *ret_was);

/* ---- a loop that turns when it is told to ---- */

#define WATCHES_MAX 32

struct gm_watch {
	gm_watch_fn fn; /* NULL: free */
	void *arg;
	int fd; /* -1: a timer */
};

static struct gm_watch watches[WATCHES_MAX];

static int watch_new(int fd, gm_watch_fn fn, void *arg, struct gm_watch **ret_watch)
{
	for (size_t i = 0; i < WATCHES_MAX; i++) {
		if (watches[i].fn == NULL) {
			watches[i] = (struct gm_watch){ .fn = fn, .arg = arg, .fd = fd };
			*ret_watch = &watches[i];
			return 0;
		}
	}
	return -ENOMEM;
}

static int watch_read(void *loop, int fd, gm_watch_fn fn, void *arg, struct gm_watch **ret_watch)
{
	(void)loop;
	return watch_new(fd, fn, arg, ret_watch);
}

static int timer_new(void *loop, gm_watch_fn fn, void *arg, struct gm_watch **ret_watch)
{
	(void)loop;
	return watch_new(-1, fn, arg, ret_watch);
}

static void timer_set(struct gm_watch *timer, uint64_t ms)
{
	(void)timer;
	(void)ms;
}

static void watch_free(struct gm_watch *watch)
{
	if (watch != NULL)
		watch->fn = NULL;
}

static const struct gm_loop_ops loop_ops = {
	.watch_read = watch_read,
	.timer_new = timer_new,
	.timer_set = timer_set,
	.watch_free = watch_free,
};

static bool is_readable(int fd)
{
	struct pollfd poll_fd = { .fd = fd, .events = POLLIN };

	return poll(&poll_fd, 1, 2000) == 1;
}

void resume_fire_exits(struct resume_rig *rig)
{
	(void)rig;
	for (size_t i = 0; i < WATCHES_MAX; i++)
		if (watches[i].fn != NULL && watches[i].fd >= 0 && is_readable(watches[i].fd))
			watches[i].fn(watches[i].arg);
}

void resume_fire_timer(struct resume_rig *rig)
{
	(void)rig;
	for (size_t i = 0; i < WATCHES_MAX; i++)
		if (watches[i].fn != NULL && watches[i].fd < 0)
			watches[i].fn(watches[i].arg);
}

/* ---- an fd store ---- */

static int on_push(void *arg, const char *name, int fd)
{
	struct resume_rig *rig = arg;

	if (rig->push_result < 0)
		return rig->push_result;
	for (size_t i = 0; i < RESUME_STORED_MAX; i++) {
		if (rig->stored[i].name[0] != '\0')
			continue;
		snprintf(rig->stored[i].name, sizeof(rig->stored[i].name), "%s", name);
		rig->stored[i].fd = gm_fd_dup(fd);
		assert_true(rig->stored[i].fd >= 0);
		return 0;
	}
	fail_msg("the fd store is full");
	return -1;
}

static int on_remove(void *arg, const char *name)
{
	struct resume_rig *rig = arg;

	if (rig->remove_result < 0)
		return rig->remove_result;
	for (size_t i = 0; i < RESUME_STORED_MAX; i++) {
		if (strcmp(rig->stored[i].name, name) != 0)
			continue;
		gm_fd_close(rig->stored[i].fd);
		rig->stored[i].name[0] = '\0';
	}
	return 0;
}

static const struct gm_keeper_ops keeper_ops = { .push = on_push, .remove = on_remove };

static bool is_kind(const struct resume_stored *stored, enum gm_stored_kind kind)
{
	enum gm_stored_kind found;
	uint32_t record;

	return stored->name[0] != '\0' && gm_stored_parse(stored->name, &found, &record) &&
	       found == kind;
}

struct resume_stored *resume_find(struct resume_rig *rig, enum gm_stored_kind kind)
{
	for (size_t i = 0; i < RESUME_STORED_MAX; i++)
		if (is_kind(&rig->stored[i], kind))
			return &rig->stored[i];
	return NULL;
}

unsigned resume_count(const struct resume_rig *rig, enum gm_stored_kind kind)
{
	unsigned n = 0;

	for (size_t i = 0; i < RESUME_STORED_MAX; i++)
		n += is_kind(&rig->stored[i], kind);
	return n;
}

/* ---- lives ---- */

static void end_session(void *arg, struct gm_session *session)
{
	struct resume_rig *rig = arg;

	gm_service_end_session(rig->rig.service, session);
}

static size_t inherit(struct resume_rig *rig, struct gm_stored *inherited)
{
	size_t n = 0;

	for (size_t i = 0; i < RESUME_STORED_MAX; i++) {
		if (rig->stored[i].name[0] == '\0')
			continue;
		assert_true(gm_stored_parse(rig->stored[i].name, &inherited[n].kind,
					    &inherited[n].record));
		inherited[n++].fd = gm_fd_dup(rig->stored[i].fd);
	}
	return n;
}

static void restore(struct resume_rig *rig)
{
	struct gm_stored inherited[RESUME_STORED_MAX];
	struct gm_policy policy;

	gm_policy_defaults(&policy, GM_GIB);
	rig->restore = (struct gm_restore){
		.record = &rig->record,
		.exec = &rig->rig.exec,
		.service = rig->rig.service,
		.policy = &policy,
		.stored = inherited,
		.n_stored = inherit(rig, inherited),
		.now_ms = rig->rig.now_ms,
	};
	assert_int_equal(gm_restore_run(&rig->restore), 0);
	for (size_t i = 0; i < rig->restore.n_stored; i++)
		gm_fd_close(inherited[i].fd);
}

void resume_boot(struct resume_rig *rig)
{
	uint64_t now_ms = rig->rig.now_ms;
	struct gm_refusal refusal;

	rig_start(&rig->rig);
	if (resume_memlock != NULL)
		rig->rig.exec.memlock = resume_memlock;
	if (now_ms != 0)
		rig->rig.now_ms = now_ms;
	rig->record = (struct gm_record){ .book = &rig->rig.book,
					  .keeper = &keeper_ops,
					  .keeper_arg = rig };
	assert_int_equal(gm_store_open(&rig->area, &rig->record.store, &refusal), 0);
	assert_int_equal(gm_guards_new((struct gm_loop_ref){ .ops = &loop_ops }, end_session, rig,
				       &rig->record.guards),
			 0);
	assert_int_equal(gm_record_start(&rig->record, (struct gm_loop_ref){ .ops = &loop_ops }),
			 0);
	rig->rig.exec.keep_ops = &gm_record_keep_ops;
	rig->rig.exec.keep_arg = &rig->record;
	rig->rig.service->env.recorder =
		(struct gm_recorder){ .ops = &gm_record_recorder_ops, .arg = &rig->record };
	gm_book_start_recording(&rig->rig.book);
	restore(rig);
}

static void *map(size_t size)
{
	void *at = mmap(NULL, size, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	assert_true(at != MAP_FAILED);
	return at;
}

void resume_start(struct resume_rig *rig)
{
	memset(rig, 0, sizeof(*rig));
	memset(watches, 0, sizeof(watches));
	resume_pidfd = -1;
	resume_pid = 0;
	rig->area.size[GM_STORE_STATE] = gm_store_state_size(&limits);
	rig->area.size[GM_STORE_MAPS] = gm_store_maps_size(&limits);
	for (unsigned part = 0; part < GM_STORE_PART_N_; part++)
		rig->area.at[part] = map(rig->area.size[part]);
	assert_int_equal(gm_store_format(&rig->area, &limits, 4711), 0);
	resume_boot(rig);
}

void resume_kill(struct resume_rig *rig)
{
	gm_service_stop_recording(rig->rig.service);
	gm_guards_free(rig->record.guards);
	rig->record.guards = NULL;
	gm_record_done(&rig->record);
}

static void finish(struct resume_rig *rig)
{
	rig_stop(&rig->rig);
	gm_store_close(rig->record.store);
	rig->record.store = NULL;
}

void resume_forget(struct peer *peer)
{
	peer_close(peer);
}

void resume_stop(struct resume_rig *rig)
{
	resume_kill(rig);
	finish(rig);
	for (size_t i = 0; i < RESUME_STORED_MAX; i++)
		if (rig->stored[i].name[0] != '\0')
			gm_fd_close(rig->stored[i].fd);
	for (unsigned part = 0; part < GM_STORE_PART_N_; part++)
		(void)munmap(rig->area.at[part], rig->area.size[part]);
	gm_fd_close(resume_pidfd);
	resume_pidfd = -1;
}

/* With all connections of before gone. */
void resume_restart(struct resume_rig *rig)
{
	finish(rig);
	resume_boot(rig);
}

/* ---- peers ---- */

static int peer_pidfd(void *channel)
{
	(void)channel;
	return resume_pidfd;
}

struct answer resume_hello(struct peer *peer, struct resume_rig *rig, struct gm_tenant *tenant,
			   uint8_t key)
{
	static struct gm_channel_ops ops;
	Gmem__HelloRequest hello = GMEM__HELLO_REQUEST__INIT;
	uint32_t serial = peer->serial;
	uint8_t bytes[GM_SESSION_KEY_SIZE];

	ops = *peer_channel_ops();
	ops.pidfd = peer_pidfd;
	peer_open(peer, &rig->rig, tenant);
	peer->link->ops = &ops;
	peer->serial = serial;
	if (resume_pid != 0)
		peer->link->session->peer.pid = resume_pid;
	memset(bytes, key, sizeof(bytes));
	hello.has_min_version = 1;
	hello.min_version = 1;
	hello.has_max_version = 1;
	hello.max_version = 1;
	hello.has_session_key = 1;
	hello.session_key = (ProtobufCBinaryData){ .len = sizeof(bytes), .data = bytes };
	return peer_ask(peer, GM_MSG_HELLO, &hello.base);
}

bool resume_connect(struct peer *peer, struct resume_rig *rig, struct gm_tenant *tenant,
		    uint8_t key)
{
	struct answer answer = resume_hello(peer, rig, tenant, key);
	const Gmem__HelloReply *reply = expect_reply(&answer);

	return reply->resumed;
}
