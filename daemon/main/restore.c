/* SPDX-License-Identifier: Apache-2.0 */
#include "restore.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "exec_launch.h"
#include "exec_memlock.h"
#include "exec_own_launch.h"
#include "gm_cleanup.h"
#include "gm_fault.h"
#include "gm_fd.h"
#include "log.h"

/* ---- stored fds ---- */

static int compare_stored(const void *a, const void *b)
{
	const struct gm_stored *x = a, *y = b;

	if (x->kind != y->kind)
		return x->kind < y->kind ? -1 : 1;
	return (x->record > y->record) - (x->record < y->record);
}

/* The first of this name; there is more than one where a removal was lost. */
static struct gm_stored *find_stored(const struct gm_restore *restore, enum gm_stored_kind kind,
				     uint32_t record)
{
	size_t low = 0, high = restore->n_stored;
	const struct gm_stored key = { .kind = kind, .record = record };

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (compare_stored(&restore->stored[middle], &key) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	if (low == restore->n_stored || compare_stored(&restore->stored[low], &key) != 0)
		return NULL;
	return &restore->stored[low];
}

static bool has_same_name(const struct gm_restore *restore, const struct gm_stored *a,
			  const struct gm_stored *b)
{
	return b < restore->stored + restore->n_stored && compare_stored(a, b) == 0;
}

static void close_all_of(const struct gm_restore *restore, struct gm_stored *first)
{
	for (struct gm_stored *at = first; has_same_name(restore, first, at); at++)
		gm_fd_close(gm_take_fd(&at->fd));
}

/* ---- objects ---- */

static int on_tenant(void *arg, const char *name, struct gm_tenant **ret_tenant,
		     struct gm_refusal *refusal)
{
	const struct gm_restore *restore = arg;
	struct gm_book *book = restore->record->book;

	*ret_tenant = gm_book_find_tenant(book, name);
	if (*ret_tenant != NULL)
		return 0;
	gm_log(LOG_WARNING,
	       "tenant %s has no socket any more: what it had waits for one, or for its time to "
	       "end",
	       name);
	return gm_book_add_tenant(book, name, restore->policy, ret_tenant, refusal);
}

static int on_session(void *arg, struct gm_tenant *tenant, const struct gm_session_restore *from,
		      struct gm_session **ret_session, struct gm_refusal *refusal)
{
	struct gm_restore *restore = arg;
	int r;

	r = gm_book_restore_session(restore->record->book, tenant, from, ret_session, refusal);
	restore->n_sessions += r == 0;
	return r;
}

static void tell_failed(struct gm_restore *restore, const struct gm_domain *domain, const char *why)
{
	const struct gm_news news = { .kind = GM_NEWS_FAILURE,
				      .tenant = domain->tenant,
				      .pidfd = -1,
				      .domain = domain->id.v,
				      .text = why };

	gm_service_tell(restore->service, &news);
}

static void tell_quarantine(struct gm_restore *restore, const struct gm_domain *domain,
			    uint64_t region, const char *why)
{
	char text[GM_TEXT_MAX];
	struct gm_news news = { .kind = GM_NEWS_QUARANTINE,
				.tenant = domain->tenant,
				.pidfd = -1,
				.domain = domain->id.v,
				.region = region,
				.rule = GM_RULE_QUARANTINE,
				.text = text };

	snprintf(text, sizeof(text), "%s %016" PRIx64 " is in quarantine: %s",
		 region != 0 ? "region" : "domain", region != 0 ? region : domain->id.v, why);
	gm_service_tell(restore->service, &news);
}

/* One name, one fd: it is stored once, when it has been launched. */
static void restore_own_launch(struct gm_restore *restore, struct gm_domain *domain,
			       uint32_t record)
{
	struct gm_stored *first = find_stored(restore, GM_STORED_VM, record);
	const char *doubt;

	if (!gm_domain_is_launched_here(domain))
		return;
	doubt = gm_exec_restore_own_launch(restore->exec, domain, first != NULL ? first->fd : -1);
	/* What is not taken is nobody's, and goes with the rest. */
	if (first != NULL && domain->launch->vm_fd == first->fd)
		first->fd = -1;
	if (doubt != NULL)
		tell_failed(restore, domain, doubt);
}

static int on_domain(void *arg, struct gm_tenant *tenant, struct gm_session *session,
		     const struct gm_domain_restore *from, struct gm_domain **ret_domain,
		     struct gm_refusal *refusal)
{
	struct gm_restore *restore = arg;
	struct gm_domain_restore wanted = *from;
	const struct gm_exec_backend *slot = gm_exec_find(restore->exec, from->kind);
	char why[GM_KIND_NAME_MAX + 32] = "";
	int r;

	/* What has been wrong may be right again: a host with its hugepages or modules back. */
	if (slot == NULL)
		snprintf(why, sizeof(why), "there is no kind %s", from->kind);
	else if (gm_exec_traits(slot) != from->traits)
		snprintf(why, sizeof(why), "the kind %s is not what it was", from->kind);
	wanted.quarantined = why[0] != '\0';
	r = gm_book_restore_domain(restore->record->book, tenant, session, &wanted, ret_domain,
				   refusal);
	explicit_bzero(&wanted.token, sizeof(wanted.token));
	if (r != 0)
		return r;
	gm_exec_restore_launch(restore->exec, *ret_domain);
	restore_own_launch(restore, *ret_domain, from->record);
	restore->n_domains++;
	if (wanted.quarantined) {
		restore->n_quarantined++;
		tell_quarantine(restore, *ret_domain, 0, why);
	}
	return 0;
}

static const char *doubt_fd(const struct gm_restore *restore, enum gm_stored_kind kind,
			    const struct gm_domain *domain, const struct gm_region_restore *from,
			    int fd)
{
	return kind == GM_STORED_HALF ? gm_exec_doubt_half(restore->exec, domain->kind, from, fd)
				      : gm_exec_doubt_fd(restore->exec, domain->kind, from, fd);
}

/* The region's memory among what is stored under its name: -1, and why not. */
static int find_memory(struct gm_restore *restore, enum gm_stored_kind kind,
		       const struct gm_domain *domain, const struct gm_region_restore *from,
		       const char **ret_doubt)
{
	struct gm_stored *first = find_stored(restore, kind, from->record);
	struct gm_stored *stored = first;

	if (first == NULL) {
		*ret_doubt = doubt_fd(restore, kind, domain, from, -1);
		return -1;
	}
	for (; has_same_name(restore, first, stored); stored++) {
		int fd;

		*ret_doubt = doubt_fd(restore, kind, domain, from, stored->fd);
		if (*ret_doubt != NULL)
			continue;
		fd = gm_take_fd(&stored->fd);
		/* A name goes with all of its fds, this one too: the others stay until it does. */
		close_all_of(restore, first);
		return fd;
	}
	/* It stays in the fd store until somebody destroys the region: nothing is lost here. */
	close_all_of(restore, first);
	return -1;
}

static int on_region(void *arg, struct gm_domain *domain, const struct gm_region_restore *from,
		     struct gm_page_map *map, struct gm_region **ret_region,
		     struct gm_refusal *refusal)
{
	struct gm_restore *restore = arg;
	struct gm_region_restore wanted = *from;
	const char *doubt = NULL;
	const char *half_doubt = NULL;
	int fd = -1;
	int r;

	if (!(domain->traits & GM_TRAIT_IN_PLACE))
		fd = find_memory(restore, GM_STORED_REGION, domain, from, &doubt);
	if (from->private_file.inode != 0)
		wanted.private_fd = find_memory(restore, GM_STORED_HALF, domain, from, &half_doubt);
	if (doubt == NULL)
		doubt = half_doubt;
	wanted.quarantined = doubt != NULL;
	r = gm_book_restore_region(restore->record->book, domain, &wanted, map, fd, ret_region,
				   refusal);
	if (r != 0) {
		gm_fd_close(fd);
		gm_fd_close(wanted.private_fd);
		return r;
	}
	restore->n_regions++;
	GM_FAULT_POINT("restore: region back");
	if (doubt != NULL) {
		restore->n_quarantined++;
		tell_quarantine(restore, domain, from->id.v, doubt);
	} else if (from->ops_under_way != 0) {
		gm_exec_look_again(restore->exec, *ret_region, from->ops_under_way);
	}
	return 0;
}

static void on_damaged(void *arg, const char *object, const char *why)
{
	struct gm_restore *restore = arg;

	restore->n_damaged++;
	gm_log(LOG_ERR, "%s is damaged and is left alone: %s", object, why);
}

static const struct gm_store_load_ops load_ops = {
	.tenant = on_tenant,
	.session = on_session,
	.domain = on_domain,
	.region = on_region,
	.damaged = on_damaged,
};

/* ---- sessions ---- */

static bool is_alive(int pidfd)
{
	struct pollfd polled = { .fd = pidfd, .events = POLLIN };

	return poll(&polled, 1, 0) == 0;
}

/* Should there be more of its name, one that has ended must not stand for one that lives. */
static struct gm_stored *find_process(const struct gm_restore *restore,
				      const struct gm_session *session)
{
	struct gm_stored *first = find_stored(restore, GM_STORED_PIDFD, session->mark.record);
	struct gm_stored *found = NULL;

	/*
	 * A session had its pidfd stored before its first domain. One that has none may have had
	 * its number from another, whose pidfd is still here, and tells no pid once that is reaped.
	 */
	if (first == NULL || TAILQ_EMPTY(&session->domains))
		return NULL;
	for (struct gm_stored *at = first; has_same_name(restore, first, at); at++)
		if (gm_guard_is_pidfd(at->fd, session->peer.pid) &&
		    (found == NULL || is_alive(at->fd)))
			found = at;
	return found;
}

/* -errno; 0; or 1: its process is gone, and with it the session, which is freed. */
static int guard(struct gm_restore *restore, struct gm_session *session)
{
	struct gm_stored *stored = find_process(restore, session);
	int r;

	/* One without a domain has no pidfd stored. */
	if (stored == NULL && restore->is_gone != NULL && restore->is_gone(session->peer.pid)) {
		gm_service_end_session(restore->service, session);
		return 1;
	}
	r = gm_guards_add(restore->record->guards, session, stored != NULL ? stored->fd : -1);
	if (r != 0 || stored == NULL)
		return r;
	stored->fd = -1;
	close_all_of(restore, find_stored(restore, GM_STORED_PIDFD, session->mark.record));
	return 0;
}

/* A session that nobody can resume has ended with the daemon, as with a connection. */
static int settle_sessions(struct gm_restore *restore, struct gm_tenant *tenant)
{
	struct gm_session *session = TAILQ_FIRST(&tenant->sessions);

	while (session != NULL) {
		struct gm_session *next = TAILQ_NEXT(session, link);
		int r = guard(restore, session);

		if (r < 0)
			return r;
		if (r == 0 && !session->has_key) {
			gm_exec_end_session_memlock(restore->exec, session);
			(void)gm_guards_forget(restore->record->guards, session);
			gm_service_end_session(restore->service, session);
		}
		session = next;
	}
	return 0;
}

static int settle_all_sessions(struct gm_restore *restore)
{
	struct gm_tenant *tenant;

	TAILQ_FOREACH(tenant, &restore->record->book->tenants, link) {
		int r = settle_sessions(restore, tenant);

		if (r < 0)
			return r;
	}
	return 0;
}

/*
 * Made for something that was never recorded, or not removed yet when that had ended. But where a
 * record cannot be read, any memory may be what it is of.
 */
static bool is_nobodys(const struct gm_restore *restore, const struct gm_stored *stored)
{
	if (stored->fd < 0)
		return false;
	if (stored->kind == GM_STORED_REGION || stored->kind == GM_STORED_HALF ||
	    stored->kind == GM_STORED_VM)
		return restore->n_damaged == 0;
	return stored->kind == GM_STORED_PIDFD;
}

/* Whoever asked for them asks again. */
static void drop_unanswered(struct gm_restore *restore)
{
	struct gm_book *book = restore->record->book;
	struct gm_region *region = gm_book_next_region(book, NULL);

	while (region != NULL) {
		struct gm_region *next = gm_book_next_region(book, region);

		if (region->unanswered)
			gm_exec_drop_region(restore->exec, region);
		region = next;
	}
}

static void remove_the_rest(struct gm_restore *restore)
{
	for (size_t i = 0; i < restore->n_stored; i++) {
		struct gm_stored *stored = &restore->stored[i];
		char name[GM_STORED_NAME_SIZE];

		if (!is_nobodys(restore, stored))
			continue;
		gm_stored_name(stored->kind, stored->record, name);
		gm_log(LOG_INFO, "%s in the fd store is nobody's: removed", name);
		gm_record_remove(restore->record, stored->kind, stored->record);
		gm_fd_close(gm_take_fd(&stored->fd));
		GM_FAULT_POINT("restore: one of the rest removed");
	}
}

int gm_restore_run(struct gm_restore *restore)
{
	struct gm_record *record = restore->record;
	int r;

	qsort(restore->stored, restore->n_stored, sizeof(*restore->stored), compare_stored);
	r = gm_store_load(record->store, record->book, &load_ops, restore, restore->now_ms);
	GM_FAULT_POINT("restore: read");
	if (r == 0)
		drop_unanswered(restore);
	if (r == 0)
		r = settle_all_sessions(restore);
	if (r != 0)
		return r < 0 ? r : -EBADMSG;
	GM_FAULT_POINT("restore: sessions settled");
	gm_exec_restore_memlock(restore->exec);
	remove_the_rest(restore);
	GM_FAULT_POINT("restore: rest removed");
	gm_service_settle(restore->service);
	GM_FAULT_POINT("restore: done");
	return 0;
}
