/* SPDX-License-Identifier: Apache-2.0 */
#include "recording.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "gm_cleanup.h"
#include "gm_fault.h"
#include "gm_fd.h"
#include "host.h"
#include "log.h"

static int failed(const char *what, int error)
{
	gm_log(LOG_ERR, "%s: %s", what, gm_strerror(-error));
	return error;
}

/* ---- the fd store ---- */

static int on_push(void *arg, const char *name, int fd)
{
	return gm_fd_store_push(arg, name, fd);
}

static int on_remove(void *arg, const char *name)
{
	return gm_fd_store_remove(arg, name);
}

static const struct gm_keeper_ops keeper_ops = { .push = on_push, .remove = on_remove };

void gm_recording_take(struct gm_recording *recording, struct gm_inherited_fds *inherited)
{
	recording->fds = GM_FD_STORE_NULL;
	recording->vault = GM_VAULT_NULL;
	recording->stored = inherited->stored;
	recording->n_stored = inherited->n_stored;
	inherited->stored = NULL;
	inherited->n_stored = 0;
}

static void forget_stored(struct gm_recording *recording)
{
	for (size_t i = 0; i < recording->n_stored; i++)
		gm_fd_close(recording->stored[i].fd);
	free(recording->stored);
	recording->stored = NULL;
	recording->n_stored = 0;
}

static struct gm_stored *find_part(struct gm_recording *recording, enum gm_stored_kind kind)
{
	for (size_t i = 0; i < recording->n_stored; i++)
		if (recording->stored[i].kind == kind)
			return &recording->stored[i];
	return NULL;
}

static bool is_wanted(struct gm_recording *recording, const struct gm_opts *opts)
{
	const char *keeper = getenv("GMEMD_KEEPER");

	if (find_part(recording, GM_STORED_STATE) != NULL)
		return true;
	return opts->fd_store || (keeper != NULL && strcmp(keeper, "1") == 0);
}

/* ---- the record ---- */

static int push_part(struct gm_recording *recording, enum gm_stored_kind kind,
		     enum gm_store_part part)
{
	char name[GM_STORED_NAME_SIZE];

	gm_stored_name(kind, 0, name);
	return gm_fd_store_push(&recording->fds, name, recording->vault.fds[part]);
}

/*
 * The maps first: maps without a state are of a daemon that was killed right here and has granted
 * nothing yet. They go.
 */
static int push_vault(struct gm_recording *recording)
{
	char name[GM_STORED_NAME_SIZE];
	int r = 0;

	gm_stored_name(GM_STORED_MAPS, 0, name);
	if (find_part(recording, GM_STORED_MAPS) != NULL)
		r = gm_fd_store_remove(&recording->fds, name);
	if (r == 0)
		r = push_part(recording, GM_STORED_MAPS, GM_STORE_MAPS);
	GM_FAULT_POINT("start: maps stored");
	if (r == 0)
		r = push_part(recording, GM_STORED_STATE, GM_STORE_STATE);
	GM_FAULT_POINT("start: state stored");
	return r;
}

static int make_vault(struct gm_recording *recording)
{
	uint64_t id;
	int r;

	/* No gmemd has granted anything before its record was there: this one has been lost. */
	if (find_part(recording, GM_STORED_REGION) != NULL) {
		gm_log(LOG_ERR, "the fd store has memory, but no record of whose it is; it is left "
				"untouched");
		return -EBADMSG;
	}
	recording->is_new = true;
	r = gm_vault_make(&recording->vault);
	if (r == 0)
		r = gm_host_random(&id, sizeof(id));
	if (r == 0)
		r = gm_store_format(&recording->vault.area, NULL, id);
	if (r == 0)
		r = push_vault(recording);
	return r == 0 ? 0 : failed("cannot make the record", r);
}

static int adopt_vault(struct gm_recording *recording, struct gm_stored *state)
{
	struct gm_stored *maps = find_part(recording, GM_STORED_MAPS);
	int r;

	if (maps == NULL) {
		gm_log(LOG_ERR, "the fd store has the record's state without its page maps");
		return -EBADMSG;
	}
	r = gm_vault_adopt(state->fd, maps->fd, &recording->vault);
	if (r == -EBUSY)
		return failed(
			"another gmemd uses the record in the fd store, which is left untouched",
			r);
	if (r < 0)
		return failed("the record in the fd store cannot be used", r);
	state->fd = maps->fd = -1;
	return 0;
}

static int open_store(struct gm_recording *recording)
{
	struct gm_refusal refusal = { 0 };
	int r = gm_store_open(&recording->vault.area, &recording->record.store, &refusal);

	if (r < 0)
		return failed("the record cannot be read; it is left untouched", r);
	if (r > 0) {
		gm_log(LOG_ERR, "the record cannot be used; it is left untouched: %s",
		       refusal.text);
		return -EPROTONOSUPPORT;
	}
	gm_store_set_release(recording->record.store, gm_vault_release, &recording->vault);
	return 0;
}

/* What is granted must fit the fd store: a service manager drops what does not, and says nothing.
 */
static void limit_fds(const struct gm_recording *recording, struct gm_account *host)
{
	uint64_t max = recording->fds.max;

	max -= gm_min_u64(max, GM_STORE_PART_N_);
	gm_account_set_limit(host, GM_RES_FDS, gm_min_u64(host->limits[GM_RES_FDS], max));
}

int gm_recording_open(struct gm_recording *recording, const struct gm_opts *opts,
		      struct gm_book *book)
{
	struct gm_stored *state;
	int r;

	if (!is_wanted(recording, opts)) {
		forget_stored(recording);
		return 0;
	}
	r = gm_fd_store_open(&recording->fds);
	if (r < 0)
		return failed("nobody keeps fds for this daemon", r);
	state = find_part(recording, GM_STORED_STATE);
	r = state != NULL ? adopt_vault(recording, state) : make_vault(recording);
	if (r == 0)
		r = open_store(recording);
	if (r < 0)
		return r;
	/* The mappings are enough, and an fd less can be passed on by mistake. */
	gm_vault_close_fds(&recording->vault);
	limit_fds(recording, &book->host);
	recording->record.book = book;
	recording->record.keeper = &keeper_ops;
	recording->record.keeper_arg = &recording->fds;
	recording->is_on = true;
	gm_book_start_recording(book);
	return 0;
}

static void end_session(void *arg, struct gm_session *session)
{
	gm_service_end_session(arg, session);
}

static void report(const struct gm_recording *recording)
{
	const struct gm_restore *results = &recording->results;

	if (recording->is_new)
		return;
	gm_log(results->n_quarantined + results->n_damaged > 0 ? LOG_WARNING : LOG_NOTICE,
	       "restored: sessions %u, domains %u, regions %u, in quarantine %u, damaged records "
	       "%u",
	       results->n_sessions, results->n_domains, results->n_regions, results->n_quarantined,
	       results->n_damaged);
}

int gm_recording_restore(struct gm_recording *recording, struct gm_exec *exec,
			 struct gm_service *service, struct gm_loop_ref loop, uint64_t host_memory)
{
	struct gm_restore *restore = &recording->results;
	struct gm_policy policy;
	int r;

	if (!recording->is_on)
		return 0;
	gm_policy_defaults(&policy, host_memory);
	r = gm_guards_new(loop, end_session, service, &recording->record.guards);
	if (r == 0)
		r = gm_record_start(&recording->record, loop);
	if (r < 0)
		return failed("cannot watch processes", r);
	*restore = (struct gm_restore){ .record = &recording->record,
					.exec = exec,
					.service = service,
					.policy = &policy,
					.is_gone = gm_guard_is_gone,
					.stored = recording->stored,
					.n_stored = recording->n_stored,
					.now_ms = loop.ops->now_ms(loop.loop) };
	r = gm_restore_run(restore);
	forget_stored(recording);
	if (r < 0)
		return failed("the record cannot be brought back; it is left untouched", r);
	report(recording);
	return 0;
}

void gm_recording_stop(struct gm_recording *recording)
{
	gm_guards_free(recording->record.guards);
	recording->record.guards = NULL;
}

void gm_recording_done(struct gm_recording *recording)
{
	forget_stored(recording);
	gm_recording_stop(recording);
	gm_record_done(&recording->record);
	gm_store_close(recording->record.store);
	recording->record.store = NULL;
	gm_vault_done(&recording->vault);
	gm_fd_store_close(&recording->fds);
}
