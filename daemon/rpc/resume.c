/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The service and the record: what is told to it, and what a session has from it after a restart.
 */
#include <assert.h>
#include <errno.h>
#include <string.h>

#include "call.h"
#include "exec_launch.h"
#include "exec_memlock.h"
#include "gm_fault.h"

/* ---- towards the record ---- */

static void commit(struct gm_service *service, struct gm_session *session,
		   const struct gm_kept_answer *answer)
{
	const struct gm_recorder *recorder = &service->env.recorder;

	GM_FAULT_POINT("record: before");
	if (recorder->ops != NULL)
		recorder->ops->commit(recorder->arg, session, answer);
	GM_FAULT_POINT("record: done");
	/* What has left the record may leave the fd store. */
	gm_exec_settle(service->exec);
	GM_FAULT_POINT("record: let go of");
}

void gm_service_settle(struct gm_service *service)
{
	commit(service, NULL, NULL);
}

void gm_service_stop_recording(struct gm_service *service)
{
	gm_service_settle(service);
	service->env.recorder.ops = NULL;
	gm_exec_stop_keeping(service->exec);
}

int gm_service_room_for_domain(const struct gm_service *service, struct gm_refusal *refusal)
{
	const struct gm_recorder *recorder = &service->env.recorder;

	return recorder->ops != NULL ? recorder->ops->room_for_domain(recorder->arg, refusal) : 0;
}

int gm_service_room_for_region(const struct gm_service *service, uint64_t size,
			       struct gm_refusal *refusal)
{
	const struct gm_recorder *recorder = &service->env.recorder;

	return recorder->ops != NULL ? recorder->ops->room_for_region(recorder->arg, size, refusal)
				     : 0;
}

int gm_service_room_for_launch(const struct gm_service *service, struct gm_refusal *refusal)
{
	const struct gm_recorder *recorder = &service->env.recorder;

	return recorder->ops != NULL ? recorder->ops->room_for_launch(recorder->arg, refusal) : 0;
}

/* A request that comes again is to find its answer, or to be done again without harm. */
static bool is_kept(const struct gm_link *link, uint16_t type, size_t length)
{
	if (!link->session->has_key || length > GM_KEPT_BODY_MAX)
		return false;
	/* Reports have numbers, and are answered as things are then. */
	return type != GM_MSG_HELLO && type != GM_MSG_DOMAIN_ATTACH && type != GM_MSG_CONVERTED;
}

void gm_link_record(struct gm_link *link, const struct gm_frame *frame, const uint8_t *body,
		    size_t length)
{
	struct gm_kept_answer kept = { .serial = frame->serial, .type = frame->type };

	if (!is_kept(link, frame->type, length)) {
		commit(link->service, NULL, NULL);
		return;
	}
	kept.length = (uint16_t)length;
	memcpy(kept.body, body, length);
	commit(link->service, link->session, &kept);
	explicit_bzero(&kept, sizeof(kept));
	/* As many answers later none is left that was given on another connection. */
	if (link->n_kept > 0)
		link->n_kept--;
}

int gm_link_hold_process(struct gm_link *link)
{
	const struct gm_recorder *recorder = &link->service->env.recorder;
	int r;

	if (recorder->ops == NULL || link->held)
		return 0;
	r = recorder->ops->hold(recorder->arg, link->session, gm_link_pidfd(link));
	link->held = r == 0;
	return r;
}

int gm_link_hold(struct gm_link *link)
{
	return link->session->has_key ? gm_link_hold_process(link) : 0;
}

void gm_link_let_go(struct gm_link *link)
{
	const struct gm_recorder *recorder = &link->service->env.recorder;

	if (link->held && recorder->ops != NULL)
		recorder->ops->let_go(recorder->arg, link->session);
	link->held = false;
}

/* ---- from the record ---- */

static void tell_unheld(struct gm_link *link, int error)
{
	struct gm_news news = gm_link_news(link, GM_NEWS_FAILURE, "the process could not be held");

	news.verb = "HELLO";
	news.result = error;
	gm_service_tell(link->service, &news);
}

/* The process that it was granted to has ended, and its limits with it. */
static void drop_memlock(struct gm_session *session)
{
	struct gm_domain *domain;

	TAILQ_FOREACH(domain, &session->domains, session_link)
		gm_book_drop_memlock(domain);
}

void gm_link_resume(struct gm_link *link, struct gm_session *session)
{
	const struct gm_recorder *recorder = &link->service->env.recorder;
	struct gm_session *fresh = link->session;
	/* A pid that we cannot see is 0. */
	bool same_pid = session->peer.pid != 0 && session->peer.pid == fresh->peer.pid;
	bool same_process;
	int r;

	assert(session->owner == NULL && session->state == GM_SESSION_OPEN);
	/* What was granted to a process is not its successor's. */
	if (!same_pid)
		gm_exec_end_session_memlock(link->service->exec, session);
	session->peer = fresh->peer;
	memcpy(session->client, fresh->client, sizeof(session->client));
	gm_mark_dirty(&link->service->book->marks, &session->mark);
	gm_book_close_session(link->service->book, fresh);
	link->session = session;
	session->owner = link;
	link->surplus = false;
	link->n_kept = GM_KEPT_ANSWERS;
	same_process = recorder->ops->resumed(recorder->arg, session) && same_pid;
	GM_FAULT_POINT("resume: joined");
	if (!same_process)
		drop_memlock(session);
	if (same_process) {
		/* What is held stays so: there is no moment at which its end would be missed. */
		link->held = true;
		return;
	}
	/*
	 * Whoever knew the key may be another process than before. A session that has no domain any
	 * more may have had one: what is stored for it must not be there still when its number is
	 * another session's.
	 */
	if (TAILQ_EMPTY(&session->domains)) {
		recorder->ops->let_go(recorder->arg, session);
		return;
	}
	/*
	 * Beside the old one, which goes with it: were that removed first, a daemon that starts in
	 * between would know of no process. Without any the session is ended by the next daemon if
	 * nobody resumes it: no reason to refuse it now.
	 */
	r = gm_link_hold(link);
	if (r < 0)
		tell_unheld(link, r);
}

static int unpack(struct gm_link *link, const struct gm_kept_answer *kept,
		  ProtobufCMessage **ret_reply)
{
	const struct gm_msg_format *format = gm_msg_format(kept->type);

	if (gm_msg_unpack_answer(format->answer, kept->body, kept->length, &link->service->arena,
				 ret_reply) != GM_MSG_GOOD)
		return -EBADMSG;
	return 0;
}

static int find_memory(struct gm_link *link, uint64_t id, int *ret_fd, struct gm_refusal *refusal)
{
	struct gm_region *region;
	int r;

	r = gm_book_find_attached_region(link->service->book, link->session,
					 (struct gm_region_id){ id }, &region, refusal);
	if (r == 0)
		r = gm_book_check_usable(region, refusal);
	if (r == 0)
		*ret_fd = region->fd;
	return r;
}

static int find_launch_device(struct gm_link *link, const Gmem__LaunchStartReply *reply,
			      int *ret_fd, struct gm_refusal *refusal)
{
	const struct gm_domain *domain;

	if (reply->n_fd_names == 0)
		return 0;
	/* Whose step it was, there is only one: an id is drawn once. */
	TAILQ_FOREACH(domain, &link->session->domains, session_link)
		if (reply->step != NULL && domain->launch != NULL &&
		    domain->launch->step_id == reply->step->step)
			return gm_exec_launch_device(link->service->exec, domain, ret_fd, refusal);
	return gm_refuse(refusal, GM_NO_SUCH_OBJECT, GM_RULE_NONE, "domain");
}

static int find_launched(struct gm_link *link, const Gmem__LaunchFinishReply *reply, int *ret_fd,
			 struct gm_refusal *refusal)
{
	const struct gm_domain *domain;

	if (reply->n_fd_names == 0)
		return 0;
	TAILQ_FOREACH(domain, &link->session->domains, session_link)
		if (reply->step != NULL && domain->launch != NULL && domain->launch->vm_fd >= 0 &&
		    domain->launch->step_id == reply->step->step) {
			*ret_fd = domain->launch->vm_fd;
			return 0;
		}
	return gm_refuse_text(refusal, GM_WRONG_STATE, GM_RULE_LAUNCH_STATE, "domain",
			      "what had been launched is not to be taken over any more");
}

/* The fd that the answer names; *ret_fd stays -1 where it names none. */
static int find_fd(struct gm_link *link, const struct gm_kept_answer *kept, int *ret_fd,
		   struct gm_refusal *refusal)
{
	ProtobufCMessage *reply;
	int r;

	if (kept->type != GM_MSG_REGION_CREATE && kept->type != GM_MSG_DOMAIN_CREATE &&
	    kept->type != GM_MSG_LAUNCH_START && kept->type != GM_MSG_LAUNCH_FINISH)
		return 0;
	r = unpack(link, kept, &reply);
	if (r < 0)
		return r;
	if (kept->type == GM_MSG_LAUNCH_START)
		return find_launch_device(link, (Gmem__LaunchStartReply *)reply, ret_fd, refusal);
	if (kept->type == GM_MSG_LAUNCH_FINISH)
		return find_launched(link, (Gmem__LaunchFinishReply *)reply, ret_fd, refusal);
	if (kept->type == GM_MSG_REGION_CREATE)
		return find_memory(link, ((Gmem__RegionCreateReply *)reply)->region, ret_fd,
				   refusal);
	if (((Gmem__DomainCreateReply *)reply)->n_fd_names == 0)
		return 0;
	*ret_fd = link->service->exec->kvm_fd;
	if (*ret_fd >= 0)
		return 0;
	return gm_refuse_text(refusal, GM_UNSUPPORTED, GM_RULE_DEVICE, "host", "no device kvm: %s",
			      link->service->exec->kvm_reason);
}

static void send_again(struct gm_link *link, const struct gm_kept_answer *kept)
{
	struct gm_frame frame = { .version = GM_PROTOCOL_VERSION,
				  .type = kept->type,
				  .flags = GM_FRAME_ANSWER,
				  .serial = kept->serial,
				  .body_length = kept->length };
	struct gm_refusal refusal = { 0 };
	int fd = -1;
	int r = find_fd(link, kept, &fd, &refusal);

	if (r != 0) {
		gm_link_refuse(link, kept->type, kept->serial, r, &refusal);
		return;
	}
	GM_FAULT_POINT("repeat: found");
	frame.n_fds = fd >= 0;
	link->ops->send(link->channel, &frame, kept->body, &fd);
}

int gm_link_replay(struct gm_link *link, const struct gm_frame *frame)
{
	const struct gm_recorder *recorder = &link->service->env.recorder;
	struct gm_kept_answer kept;
	int r = 1;

	if (recorder->ops == NULL ||
	    !recorder->ops->find_answer(recorder->arg, link->session, frame->serial, &kept))
		return 0;
	if (kept.type == frame->type)
		send_again(link, &kept);
	else
		r = -EPROTO;
	explicit_bzero(&kept, sizeof(kept));
	return r;
}
