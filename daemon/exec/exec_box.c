/* SPDX-License-Identifier: Apache-2.0 */
#include "exec_box.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "exec_charge.h"
#include "exec_share.h"
#include "gm_cleanup.h"

struct gm_exec_box {
	struct gm_exec *exec;
	const struct gm_tenant *tenant;
	const struct gm_session *session; /* NULL: closed, and never found again */
	uint64_t id;
	uint64_t domain;
	uint64_t deadline_ms; /* 0: none yet */
	bool is_open;	      /* its client has been told */
	bool is_late;
	int client_end;		 /* -1 once it has been told */
	int fd;			 /* that came; -1: none yet */
	struct gm_crew *crew;	 /* its own */
	struct gm_crew_job *job; /* NULL: it has ended, with @result */
	int result;
	struct gm_refusal refusal;
	const struct gm_exec_box_ops *ops;
	void *arg;
	gm_exec_claim_fn claim; /* NULL: nobody waits */
	void *claim_arg;
	TAILQ_ENTRY(gm_exec_box) link; /* gm_exec::boxes */
};

static void box_free(struct gm_exec_box *box)
{
	TAILQ_REMOVE(&box->exec->boxes, box, link);
	gm_fd_close(box->client_end);
	if (box->fd >= 0)
		gm_exec_dispose(box->exec, box->tenant, box->fd);
	gm_crew_free(box->crew);
	free(box);
}

/* To who waits for it. Frees the box. */
static void hand_over(struct gm_exec_box *box)
{
	gm_exec_claim_fn claim = box->claim;
	void *arg = box->claim_arg;
	struct gm_refusal refusal = box->refusal;
	int result = box->result;
	int fd = result == 0 ? gm_take_fd(&box->fd) : -1;

	box_free(box);
	claim(arg, result, &refusal, fd);
}

/* ---- the worker's part */

static int refuse_content(int error, struct gm_refusal *refusal)
{
	const char *text;

	if (error == EBADF)
		text = "the file is neither a memfd nor a guest_memfd";
	else if (error == EBADMSG)
		text = "one packet with exactly one file descriptor is to be sent into a box";
	else if (error == EPIPE)
		text = "the box was closed by its sender before anything came";
	else
		return -error;
	return gm_refuse_text(refusal, GM_INVALID, GM_RULE_FD, "box", "%s", text);
}

/* @error: a wait status, or -errno. */
static int refuse_loss(int error, struct gm_refusal *refusal)
{
	if (error >= 0 && WIFSIGNALED(error))
		return gm_refuse_text(refusal, GM_WORKER_LOST, GM_RULE_WORKER, "box",
				      "the worker that was to look into the box died of signal %d",
				      WTERMSIG(error));
	if (error >= 0)
		return gm_refuse_text(refusal, GM_WORKER_LOST, GM_RULE_WORKER, "box",
				      "the worker that was to look into the box exited with %d",
				      WEXITSTATUS(error));
	gm_refuse_text(refusal, GM_WORKER_LOST, GM_RULE_WORKER, "box",
		       "no worker process could be started: %s", strerrordesc_np(-error));
	refusal->sys_errno = (uint32_t)-error;
	return GM_WORKER_LOST;
}

static int refuse_place(const struct gm_exec_box *box, int error, struct gm_refusal *refusal)
{
	gm_refuse_text(refusal, GM_NO_RESOURCE, GM_RULE_MEMORY_CGROUP, box->tenant->account.name,
		       "the worker could not be put into the cgroup of the process: %s",
		       strerrordesc_np(-error));
	refusal->sys_errno = (uint32_t)-error;
	return GM_NO_RESOURCE;
}

static int conclude(const struct gm_exec_box *box, enum gm_job_end how, int error,
		    struct gm_refusal *refusal)
{
	if (box->is_late)
		return gm_refuse_text(refusal, GM_CANCELLED, GM_RULE_BOX, "box",
				      "nothing came in the box in time");
	if (box->session == NULL || how == GM_JOB_CANCELLED)
		return gm_refuse_text(refusal, GM_CANCELLED, GM_RULE_BOX, "box",
				      "the box has been closed");
	if (how == GM_JOB_WORKER_LOST)
		return refuse_loss(error, refusal);
	if (how == GM_JOB_DISPLACED)
		return refuse_place(box, error, refusal);
	if (how == GM_JOB_ERROR)
		return refuse_content(error, refusal);
	return box->fd >= 0 ? 0 : refuse_content(EBADMSG, refusal);
}

static void on_ready(void *arg)
{
	struct gm_exec_box *box = arg;

	if (box->is_open || box->session == NULL)
		return;
	box->is_open = true;
	box->ops->opened(box->arg, box, 0, &box->refusal, box->client_end);
	gm_fd_close(gm_take_fd(&box->client_end));
}

static void on_received(void *arg, int fd)
{
	struct gm_exec_box *box = arg;

	if (box->fd >= 0)
		gm_exec_dispose(box->exec, box->tenant, box->fd);
	box->fd = fd;
}

static void on_end(void *arg, enum gm_job_end how, int error)
{
	struct gm_exec_box *box = arg;
	bool closed = box->session == NULL;

	box->job = NULL;
	box->result = conclude(box, how, error, &box->refusal);
	if (!box->is_open) {
		/* A worker that has taken it, and not said so, is none. */
		if (box->result == 0)
			box->result = -EPROTO;
		box->ops->opened(box->arg, NULL, box->result, &box->refusal, -1);
		box_free(box);
	} else if (box->claim != NULL) {
		hand_over(box);
	} else if (closed) {
		box_free(box);
	}
}

static const struct gm_crew_job_ops crew_ops = { .ready = on_ready,
						 .received = on_received,
						 .end = on_end };

/* ---- opening */

static int check_number(const struct gm_exec *exec, const struct gm_session *session,
			struct gm_refusal *refusal)
{
	const struct gm_exec_box *box;
	uint64_t n = 0;

	TAILQ_FOREACH(box, &exec->boxes, link)
		n += box->session == session;
	if (n < GM_EXEC_BOXES_MAX)
		return 0;
	return gm_refuse_numbers(refusal, GM_OVER_LIMIT, GM_RULE_BOX, "session", GM_EXEC_BOXES_MAX,
				 n, 1);
}

static int submit(struct gm_exec_box *box, int worker_end, struct gm_cgroup_place *place)
{
	const struct gm_job_order order = { .verb = GM_JOB_RECEIVE,
					    .n_threads = 1,
					    .page_size = GM_PAGE_4K };

	return gm_crew_submit(box->crew, &order, worker_end, place, &crew_ops, box, &box->job);
}

static int start(struct gm_exec_box *box, struct gm_exec_share *share,
		 struct gm_cgroup_place *place)
{
	int ends[2];
	int r;

	r = gm_crew_new(box->exec->hub, &box->crew);
	if (r < 0)
		return r;
	gm_crew_join(box->crew, &share->boxes);
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
		return -errno;
	box->client_end = ends[0];
	r = submit(box, ends[1], place);
	gm_fd_close(ends[1]);
	return r;
}

static int refuse_now(int error, struct gm_refusal *refusal)
{
	if (error != -EPIPE && error != -EAGAIN)
		return error;
	gm_refuse_text(refusal, GM_NO_RESOURCE, GM_RULE_WORKER, "host",
		       "no worker process can be had now: %s", strerrordesc_np(-error));
	refusal->sys_errno = (uint32_t)-error;
	return GM_NO_RESOURCE;
}

int gm_exec_open_box(struct gm_exec *exec, struct gm_session *session, int pidfd,
		     const struct gm_domain *domain, uint64_t id, const struct gm_exec_box_ops *ops,
		     void *arg, struct gm_refusal *refusal)
{
	struct gm_exec_share *share;
	struct gm_exec_payer payer;
	struct gm_exec_box *box;
	int r;

	if (exec->hub == NULL)
		return gm_refuse_text(refusal, GM_UNSUPPORTED, GM_RULE_WORKER, "host",
				      "this daemon runs without workers");
	r = check_number(exec, session, refusal);
	if (r == 0)
		r = gm_exec_share_of(exec, session->tenant, &share);
	if (r == 0)
		r = gm_exec_find_payer(exec, session, pidfd, &payer, refusal);
	if (r != 0)
		return r;
	box = calloc(1, sizeof(*box));
	if (box == NULL) {
		gm_exec_payer_done(&payer);
		return -ENOMEM;
	}
	*box = (struct gm_exec_box){ .exec = exec,
				     .tenant = session->tenant,
				     .session = session,
				     .id = id,
				     .domain = domain->id.v,
				     .client_end = -1,
				     .fd = -1,
				     .ops = ops,
				     .arg = arg };
	TAILQ_INSERT_TAIL(&exec->boxes, box, link);
	r = start(box, share, payer.place);
	gm_exec_payer_done(&payer);
	if (r == 0)
		return 0;
	box_free(box);
	return refuse_now(r, refusal);
}

uint64_t gm_exec_box_id(const struct gm_exec_box *box)
{
	return box->id;
}

void gm_exec_box_set_deadline(struct gm_exec_box *box, uint64_t deadline_ms)
{
	box->deadline_ms = deadline_ms;
}

/* ---- its end */

int gm_exec_claim_box(struct gm_exec *exec, const struct gm_session *session,
		      const struct gm_domain *domain, uint64_t id, gm_exec_claim_fn fn, void *arg,
		      struct gm_refusal *refusal)
{
	struct gm_exec_box *box;

	TAILQ_FOREACH(box, &exec->boxes, link)
		if (box->id == id && box->is_open && box->session == session &&
		    box->domain == domain->id.v)
			break;
	if (box == NULL)
		return gm_refuse_text(refusal, GM_NO_SUCH_OBJECT, GM_RULE_BOX, "box",
				      "the session has no such box for the domain");
	if (box->claim != NULL)
		return gm_refuse_text(refusal, GM_BUSY, GM_RULE_BOX, "box",
				      "another request waits for what comes in the box");
	box->claim = fn;
	box->claim_arg = arg;
	if (box->job == NULL)
		hand_over(box);
	return 0;
}

static void box_close(struct gm_exec_box *box)
{
	box->session = NULL;
	if (box->job != NULL)
		gm_crew_cancel(box->job);
	else
		box_free(box);
}

void gm_exec_close_boxes(struct gm_exec *exec, const struct gm_session *session,
			 const struct gm_domain *domain)
{
	struct gm_exec_box *box = TAILQ_FIRST(&exec->boxes);
	struct gm_exec_box *next;

	for (; box != NULL; box = next) {
		next = TAILQ_NEXT(box, link);
		if (box->session != NULL &&
		    (box->session == session || (domain != NULL && box->domain == domain->id.v)))
			box_close(box);
	}
}

uint32_t gm_exec_closing_boxes(const struct gm_exec *exec)
{
	const struct gm_exec_box *box;
	uint32_t n = 0;

	TAILQ_FOREACH(box, &exec->boxes, link)
		n += box->session == NULL;
	return n;
}

static void expire(struct gm_exec_box *box)
{
	box->is_late = true;
	if (box->claim == NULL)
		box_close(box);
	else
		gm_crew_cancel(box->job);
}

void gm_exec_expire_boxes(struct gm_exec *exec, uint64_t now_ms)
{
	struct gm_exec_box *box = TAILQ_FIRST(&exec->boxes);
	struct gm_exec_box *next;

	for (; box != NULL; box = next) {
		next = TAILQ_NEXT(box, link);
		if (box->session != NULL && !box->is_late && box->deadline_ms != 0 &&
		    now_ms >= box->deadline_ms)
			expire(box);
	}
}
