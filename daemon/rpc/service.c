/* SPDX-License-Identifier: Apache-2.0 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "call.h"
#include "exec_box.h"
#include "gm_fault.h"
#include "status.h"
#include "step.h"

uint64_t gm_service_now(const struct gm_service *service)
{
	return service->env.loop.ops->now_ms(service->env.loop.loop);
}

int gm_service_draw_id(const struct gm_service *service, uint64_t *ret_id)
{
	uint64_t id = 0;

	while (id == 0) {
		int r = service->env.random(&id, sizeof(id));

		if (r < 0)
			return r;
	}
	*ret_id = id;
	return 0;
}

/* While it waits to be resumed, the record has it. */
static int session_pidfd(void *arg, const struct gm_session *session)
{
	const struct gm_service *service = arg;
	const struct gm_recorder *recorder = &service->env.recorder;
	const struct gm_link *link = session->owner;

	if (link != NULL)
		return gm_link_pidfd(link);
	return recorder->ops != NULL ? recorder->ops->pidfd(recorder->arg, session) : -1;
}

int gm_service_new(struct gm_book *book, struct gm_exec *exec, const struct gm_service_env *env,
		   struct gm_service **ret_service)
{
	struct gm_service *service = calloc(1, sizeof(*service));
	int r;

	if (service == NULL)
		return -ENOMEM;
	r = gm_arena_init(&service->arena, GM_MSG_ARENA_SIZE);
	if (r < 0) {
		free(service);
		return r;
	}
	service->book = book;
	service->exec = exec;
	service->env = *env;
	service->started_ms = gm_service_now(service);
	TAILQ_INIT(&service->links);
	TAILQ_INIT(&service->watchers);
	exec->session_pidfd = session_pidfd;
	exec->session_pidfd_arg = service;
	*ret_service = service;
	return 0;
}

void gm_service_free(struct gm_service *service)
{
	if (service == NULL)
		return;
	assert(TAILQ_EMPTY(&service->links));
	service->exec->session_pidfd = NULL;
	gm_arena_done(&service->arena);
	free(service);
}

/* The peer has no session that could be asked anything: it is told why, unasked. */
static void send_unwelcome(struct gm_service *service, const struct gm_channel_ops *ops,
			   void *channel, int result, const struct gm_refusal *refusal)
{
	struct gm_link link = { .service = service, .ops = ops, .channel = channel };
	struct gm_status status;

	gm_status_fill(&status, result, refusal, "HELLO");
	gm_link_tell(&link,
		     &(struct gm_frame){ .type = GM_MSG_HELLO,
					 .flags = GM_FRAME_ANSWER | GM_FRAME_REFUSED },
		     &status.message.base);
}

static void tell_turned_away(struct gm_service *service, struct gm_tenant *tenant,
			     const struct gm_peer *peer, int pidfd, int result,
			     const struct gm_refusal *refusal)
{
	struct gm_counters *counters =
		tenant != NULL ? &tenant->counters : &service->book->counters;
	struct gm_news news = { .kind = result < 0 ? GM_NEWS_FAILURE : GM_NEWS_REFUSAL,
				.tenant = tenant,
				.has_peer = true,
				.by_operator = tenant == NULL,
				.peer = *peer,
				.pidfd = pidfd,
				.verb = "HELLO",
				.result = result,
				.rule = refusal->rule };
	struct gm_status status;

	gm_counters_answer(counters, result, refusal->rule);
	gm_status_fill(&status, result, refusal, news.verb);
	news.text = status.text;
	gm_service_tell(service, &news);
}

/* More sessions wait to be resumed than connections have come for them. */
static bool waits_for_more(const struct gm_tenant *tenant)
{
	const struct gm_session *session;
	size_t n_absent = 0, n_surplus = 0;

	if (tenant == NULL)
		return false;
	TAILQ_FOREACH(session, &tenant->sessions, link) {
		const struct gm_link *link = session->owner;

		n_absent += link == NULL;
		n_surplus += link != NULL && link->surplus;
	}
	return n_surplus < n_absent;
}

static int open_session(struct gm_link *link, struct gm_tenant *tenant, struct gm_session_id id,
			const struct gm_peer *peer, struct gm_refusal *refusal)
{
	struct gm_book *book = link->service->book;
	int r;

	r = gm_book_open_session(book, tenant, id, peer, &link->session, refusal);
	if (r != GM_OVER_LIMIT || !waits_for_more(tenant))
		return r;
	link->surplus = true;
	return gm_book_open_session_over(book, tenant, id, peer, &link->session, refusal);
}

static int open_link(struct gm_service *service, struct gm_tenant *tenant,
		     const struct gm_peer *peer, struct gm_link **ret_link,
		     struct gm_refusal *refusal)
{
	struct gm_session_id id;
	struct gm_link *link;
	int r;

	r = gm_service_draw_id(service, &id.v);
	if (r < 0)
		return r;
	link = calloc(1, sizeof(*link));
	if (link == NULL)
		return -ENOMEM;
	link->service = service;
	r = open_session(link, tenant, id, peer, refusal);
	if (r != 0) {
		free(link);
		return r;
	}
	*ret_link = link;
	return 0;
}

int gm_service_open(struct gm_service *service, struct gm_tenant *tenant,
		    const struct gm_peer *peer, const struct gm_channel_ops *ops, void *channel,
		    struct gm_link **ret_link)
{
	struct gm_refusal refusal = { 0 };
	struct gm_link *link;
	int r;

	r = open_link(service, tenant, peer, &link, &refusal);
	if (r != 0) {
		tell_turned_away(service, tenant, peer,
				 ops->pidfd != NULL ? ops->pidfd(channel) : -1, r, &refusal);
		send_unwelcome(service, ops, channel, r, &refusal);
		return r;
	}
	link->ops = ops;
	link->channel = channel;
	link->pidfd = -1;
	link->sequence = ++service->last_link;
	link->session->owner = link;
	TAILQ_INIT(&link->pending);
	TAILQ_INSERT_TAIL(&service->links, link, entry);
	*ret_link = link;
	return 0;
}

void gm_service_dispose(struct gm_service *service, const struct gm_tenant *tenant, int fd)
{
	gm_exec_dispose(service->exec, tenant, fd);
}

int gm_service_packet(struct gm_link *link, const struct gm_frame *frame, const void *body,
		      struct gm_fdset *fds, const char **ret_fault)
{
	/* The link may end inside. */
	struct gm_service *service = link->service;
	const struct gm_tenant *tenant = link->session->tenant;
	int r;

	r = gm_dispatch(link, frame, body, fds->n_fds, ret_fault);
	for (size_t i = 0; i < fds->n_fds; i++)
		gm_service_dispose(service, tenant, gm_fdset_steal(fds, i));
	gm_fdset_done(fds);
	return r;
}

static void end_session_domains(struct gm_service *service, struct gm_session *session)
{
	const struct gm_link *link = session->owner;
	struct gm_domain *domain;

	while ((domain = TAILQ_FIRST(&session->domains)) != NULL) {
		if (domain->lifetime == GM_LIFETIME_BOUND) {
			gm_link_tell_domain(service, link, GM_NEWS_END, domain,
					    "a domain ended with its VMM");
			(void)gm_exec_end_domain(service->exec, domain);
		} else {
			gm_link_tell_domain(service, link, GM_NEWS_ORPHAN, domain,
					    "a domain waits for its next VMM");
			gm_exec_detach_domain(service->exec, domain, gm_service_now(service));
			gm_exec_leave_owner(domain);
		}
	}
}

static void stop_pending(struct gm_link *link)
{
	struct gm_pending *pending = TAILQ_FIRST(&link->pending);

	while (pending != NULL) {
		struct gm_pending *next = TAILQ_NEXT(pending, entry);

		if (pending->delayed != NULL)
			gm_delayed_free(pending);
		else if (pending->report != NULL && pending->job == NULL)
			gm_report_free(pending);
		else if (pending->job != NULL)
			gm_exec_cancel_job(pending->job);
		pending = next;
	}
}

void gm_service_close(struct gm_link *link)
{
	struct gm_service *service = link->service;

	gm_link_stop_watching(link);
	/* It may live on without its connection, and have limits that are to be lowered. */
	link->pidfd = gm_link_pidfd(link);
	link->ops = NULL;
	link->channel = NULL;
	gm_session_set_state(link->session, GM_SESSION_CLOSING);
	gm_exec_close_boxes(service->exec, link->session, NULL);
	stop_pending(link);
	end_session_domains(service, link->session);
	link->pidfd = -1;
	GM_FAULT_POINT("close: domains ended");
	gm_link_release(link);
	gm_service_settle(service);
}

void gm_service_end_session(struct gm_service *service, struct gm_session *session)
{
	const struct gm_recorder *recorder = &service->env.recorder;

	assert(session->owner == NULL);
	gm_session_set_state(session, GM_SESSION_CLOSING);
	end_session_domains(service, session);
	GM_FAULT_POINT("guard: domains ended");
	if (recorder->ops != NULL)
		recorder->ops->let_go(recorder->arg, session);
	gm_book_close_session(service->book, session);
	gm_service_settle(service);
}

void gm_service_drain(struct gm_service *service, uint32_t drain_ms)
{
	Gmem__ShutdownEvent event = GMEM__SHUTDOWN_EVENT__INIT;
	struct gm_link *link;

	service->book->draining = true;
	event.has_drain_ms = 1;
	event.drain_ms = drain_ms;
	TAILQ_FOREACH(link, &service->links, entry) {
		if (!gm_link_is_open(link))
			continue;
		gm_link_tell(
			link,
			&(struct gm_frame){ .type = GM_EVENT_SHUTDOWN, .flags = GM_FRAME_EVENT },
			&event.base);
	}
}

uint32_t gm_service_jobs(const struct gm_service *service)
{
	return service->n_jobs + gm_exec_closing_boxes(service->exec);
}

void gm_service_expire(struct gm_service *service)
{
	uint64_t now_ms = gm_service_now(service);
	struct gm_domain *domain = gm_book_next_domain(service->book, NULL);

	while (domain != NULL) {
		struct gm_domain *next = gm_book_next_domain(service->book, domain);

		if (gm_domain_ttl_left(domain, now_ms) == 0) {
			gm_link_tell_domain(service, NULL, GM_NEWS_END, domain,
					    "a domain expired: nobody came back for it");
			(void)gm_exec_end_domain(service->exec, domain);
		}
		domain = next;
	}
	gm_exec_expire_boxes(service->exec, now_ms);
	gm_step_expire(service);
	gm_service_settle(service);
}

static void close_absent_sessions(struct gm_service *service, struct gm_tenant *tenant)
{
	struct gm_session *session = TAILQ_FIRST(&tenant->sessions);

	while (session != NULL) {
		struct gm_session *next = TAILQ_NEXT(session, link);

		if (session->owner == NULL)
			gm_book_close_session(service->book, session);
		session = next;
	}
}

void gm_service_end_all(struct gm_service *service)
{
	struct gm_tenant *tenant;
	struct gm_domain *domain;

	/* A domain that has ended is not found again, even while its jobs let go. */
	while ((domain = gm_book_next_domain(service->book, NULL)) != NULL)
		(void)gm_exec_end_domain(service->exec, domain);
	TAILQ_FOREACH(tenant, &service->book->tenants, link)
		close_absent_sessions(service, tenant);
	gm_service_settle(service);
}
