/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a client has from a daemon that was killed and started again: its session and its domains.
 */
#include <errno.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "call.h"
#include "gm_fd.h"
#include "resume_case.h"

/* ---- sessions ---- */

static void a_session_with_a_key_is_resumed_with_its_id_and_its_domains(void **state)
{
	struct made_domain bound, persistent;
	struct answer answer;
	uint64_t id, region;

	(void)state;
	start();
	id = gm_link_session(peer.link)->id.v;
	bound = make_domain(&peer, GMEM__LIFETIME__LIFETIME_BOUND, "vm1");
	persistent = make_domain(&peer, GMEM__LIFETIME__LIFETIME_PERSISTENT, NULL);
	region = make_region(&peer, bound.id, 0, GM_MIB);
	restart_and_resume();
	assert_int_equal(gm_link_session(peer.link)->id.v, id);
	answer = ask_domain_get(&peer, bound.id);
	assert_true(((const Gmem__DomainGetReply *)expect_reply(&answer))->info->attached);
	answer = ask_domain_get(&peer, persistent.id);
	assert_true(((const Gmem__DomainGetReply *)expect_reply(&answer))->info->attached);
	answer = ask_region_get(&peer, region, true);
	assert_int_equal(((const Gmem__RegionGetReply *)expect_reply(&answer))->info->size, GM_MIB);
	assert_int_equal(answer.frame.n_fds, 1);
	answer_close(&answer);
	stop();
}

static void charges_are_as_before_the_kill(void **state)
{
	uint64_t before[GM_RESOURCE_N_];
	struct made_domain domain;

	(void)state;
	start();
	domain = make_domain(&peer, GMEM__LIFETIME__LIFETIME_BOUND, "vm1");
	(void)make_region(&peer, domain.id, 0, GM_MIB);
	(void)make_region(&peer, domain.id, GM_GIB, GM_GIB);
	for (unsigned i = 0; i < GM_RESOURCE_N_; i++)
		before[i] = used(i);
	restart_and_resume();
	for (unsigned i = 0; i < GM_RESOURCE_N_; i++)
		assert_int_equal(used(i), before[i]);
	stop();
}

static void a_session_without_a_key_ends_with_the_daemon(void **state)
{
	struct made_domain bound, persistent;
	struct answer answer;

	(void)state;
	start();
	peer_connect(&other, &rig.rig, rig.rig.acme);
	bound = make_domain(&other, GMEM__LIFETIME__LIFETIME_BOUND, "bound");
	persistent = make_domain(&other, GMEM__LIFETIME__LIFETIME_PERSISTENT, "persistent");
	(void)make_region(&other, bound.id, 0, GM_MIB);
	resume_kill(&rig);
	resume_forget(&other);
	resume_forget(&peer);
	resume_restart(&rig);
	assert_true(resume_connect(&peer, &rig, rig.rig.acme, KEY));
	answer = ask_domain_get(&peer, bound.id);
	expect_refusal(&answer, GM_NO_SUCH_OBJECT, GM_RULE_NONE);
	answer = ask_domain_get(&peer, persistent.id);
	assert_false(((const Gmem__DomainGetReply *)expect_reply(&answer))->info->attached);
	assert_int_equal(used(GM_RES_MEMORY), 0);
	assert_int_equal(resume_count(&rig, GM_STORED_REGION), 0);
	answer = ask_attach(&peer, persistent.id, persistent.token, false);
	expect_reply(&answer);
	stop();
}

static void a_key_that_nobody_knows_begins_a_session(void **state)
{
	(void)state;
	start();
	restart();
	assert_false(resume_connect(&peer, &rig, rig.rig.acme, OTHER_KEY));
	stop();
}

static void the_key_of_another_tenant_is_not_known(void **state)
{
	(void)state;
	start();
	restart();
	assert_false(resume_connect(&peer, &rig, rig.rig.beta, KEY));
	stop();
}

static void the_key_of_a_live_connection_is_busy(void **state)
{
	struct answer answer;

	(void)state;
	start();
	answer = resume_hello(&other, &rig, rig.rig.acme, KEY);
	expect_refusal(&answer, GM_BUSY, GM_RULE_SESSION_KEY);
	peer_close(&other);
	stop();
}

static void a_session_that_has_ended_cannot_be_resumed(void **state)
{
	(void)state;
	start();
	peer_close(&peer);
	assert_false(resume_connect(&peer, &rig, rig.rig.acme, KEY));
	restart_and_resume();
	peer_close(&peer);
	restart();
	assert_false(resume_connect(&peer, &rig, rig.rig.acme, KEY));
	stop();
}

static void a_key_of_another_length_is_refused(void **state)
{
	Gmem__HelloRequest hello = GMEM__HELLO_REQUEST__INIT;
	struct answer answer;

	(void)state;
	start();
	hello.has_min_version = 1;
	hello.min_version = 1;
	hello.has_max_version = 1;
	hello.max_version = 1;
	hello.has_session_key = 1;
	hello.session_key = bytes_of("fifteen bytes..");
	peer_open(&other, &rig.rig, rig.rig.acme);
	answer = peer_ask(&other, GM_MSG_HELLO, &hello.base);
	expect_refusal(&answer, GM_INVALID, GM_RULE_SESSION_KEY);
	expect_numbers(&answer, 16, 0, 15);
	peer_close(&other);
	stop();
}

static void who_comes_back_is_let_in_over_sessions_max(void **state)
{
	struct peer crowd[4] = { 0 };
	struct answer answer;
	unsigned i;

	(void)state;
	start();
	(void)make_domain(&peer, GMEM__LIFETIME__LIFETIME_BOUND, "vm1");
	restart();
	for (i = 0; i < 3; i++)
		peer_connect(&crowd[i], &rig.rig, rig.rig.acme);
	answer = resume_hello(&crowd[3], &rig, rig.rig.acme, OTHER_KEY);
	expect_refusal(&answer, GM_OVER_LIMIT, GM_RULE_SESSIONS_MAX);
	expect_numbers(&answer, 4, 4, 1);
	other.rig = &rig.rig;
	/* One session is waited for, and one connection has come for it: there is room for no more.
	 */
	assert_int_equal(gm_service_open(rig.rig.service, rig.rig.acme,
					 &(struct gm_peer){ .pid = 1 }, peer_channel_ops(), &other,
					 &other.link),
			 GM_OVER_LIMIT);
	(void)peer_take(&other);
	peer_close(&crowd[3]);
	assert_true(resume_connect(&peer, &rig, rig.rig.acme, KEY));
	assert_int_equal(used(GM_RES_SESSIONS), 4);
	for (i = 0; i < 3; i++)
		peer_close(&crowd[i]);
	stop();
}

static void without_a_record_a_key_makes_no_difference(void **state)
{
	(void)state;
	start();
	gm_service_stop_recording(rig.rig.service);
	assert_false(resume_connect(&other, &rig, rig.rig.acme, KEY));
	peer_close(&other);
	stop();
}

/* ---- processes ---- */

static void the_pidfd_of_a_session_with_a_domain_is_stored_until_it_ends(void **state)
{
	struct made_domain domain;

	(void)state;
	start();
	resume_pidfd = gm_fd_dup(STDIN_FILENO);
	assert_int_equal(resume_count(&rig, GM_STORED_PIDFD), 0);
	domain = make_domain(&peer, GMEM__LIFETIME__LIFETIME_BOUND, NULL);
	(void)make_domain(&peer, GMEM__LIFETIME__LIFETIME_BOUND, NULL);
	assert_int_equal(resume_count(&rig, GM_STORED_PIDFD), 1);
	(void)domain;
	peer_close(&peer);
	assert_int_equal(resume_count(&rig, GM_STORED_PIDFD), 0);
	stop();
}

/* A pidfd of a process that has ended. */
static int pidfd_of_the_dead(void)
{
	pid_t child = fork();
	int fd;

	assert_true(child >= 0);
	if (child == 0)
		_exit(0);
	fd = (int)syscall(SYS_pidfd_open, child, 0);
	assert_true(fd >= 0);
	assert_int_equal(waitpid(child, NULL, 0), child);
	return fd;
}

static void a_process_that_ends_before_it_has_come_back_takes_what_is_bound_along(void **state)
{
	struct made_domain bound, persistent;
	struct answer answer;

	(void)state;
	start();
	resume_pidfd = pidfd_of_the_dead();
	bound = make_domain(&peer, GMEM__LIFETIME__LIFETIME_BOUND, NULL);
	persistent = make_domain(&peer, GMEM__LIFETIME__LIFETIME_PERSISTENT, NULL);
	(void)make_region(&peer, bound.id, 0, GM_MIB);
	restart();
	assert_int_equal(resume_count(&rig, GM_STORED_PIDFD), 1);
	resume_fire_exits(&rig);
	assert_int_equal(resume_count(&rig, GM_STORED_PIDFD), 0);
	assert_int_equal(resume_count(&rig, GM_STORED_REGION), 0);
	peer_connect(&other, &rig.rig, rig.rig.acme);
	answer = ask_domain_get(&other, bound.id);
	expect_refusal(&answer, GM_NO_SUCH_OBJECT, GM_RULE_NONE);
	answer = ask_domain_get(&other, persistent.id);
	assert_false(((const Gmem__DomainGetReply *)expect_reply(&answer))->info->attached);
	peer_close(&other);
	stop();
}

static void a_session_that_is_resumed_has_the_pidfd_of_its_new_connection_stored(void **state)
{
	(void)state;
	start();
	resume_pidfd = pidfd_of_the_dead();
	(void)make_domain(&peer, GMEM__LIFETIME__LIFETIME_BOUND, NULL);
	restart();
	gm_fd_close(resume_pidfd);
	resume_pidfd = memfd_create("as if it were the pidfd of another", MFD_CLOEXEC);
	rig.remove_result = -EIO;
	assert_true(resume_connect(&peer, &rig, rig.rig.acme, KEY));
	/* Beside the other: at no moment is there none. */
	assert_int_equal(rig.record.n_unremoved, 0);
	assert_int_equal(resume_count(&rig, GM_STORED_PIDFD), 2);
	rig.remove_result = 0;
	peer_close(&peer);
	assert_int_equal(resume_count(&rig, GM_STORED_PIDFD), 0);
	stop();
}

/* The next session that has its number would be taken for that process, and end with it. */
static void a_session_that_is_resumed_without_a_domain_leaves_no_pidfd_behind(void **state)
{
	struct made_domain domain;
	struct answer answer;

	(void)state;
	start();
	resume_pidfd = pidfd_of_the_dead();
	domain = make_domain(&peer, GMEM__LIFETIME__LIFETIME_BOUND, NULL);
	answer = ask_domain_destroy(&peer, domain.id, NULL);
	expect_reply(&answer);
	assert_int_equal(resume_count(&rig, GM_STORED_PIDFD), 1);
	restart();
	assert_true(resume_connect(&peer, &rig, rig.rig.acme, KEY));
	assert_int_equal(resume_count(&rig, GM_STORED_PIDFD), 0);
	stop();
}

static void a_process_that_lives_is_believed_beside_one_of_its_name_that_has_ended(void **state)
{
	struct resume_stored *stored;

	(void)state;
	start();
	resume_pidfd = (int)syscall(SYS_pidfd_open, getpid(), 0);
	assert_true(resume_pidfd >= 0);
	peer.link->session->peer.pid = getpid();
	gm_mark_dirty(&rig.rig.book.marks, &peer.link->session->mark);
	(void)make_domain(&peer, GMEM__LIFETIME__LIFETIME_BOUND, NULL);
	stored = resume_find(&rig, GM_STORED_PIDFD);
	rig.stored[RESUME_STORED_MAX - 1] = *stored;
	stored->fd = pidfd_of_the_dead();
	restart();
	resume_fire_exits(&rig);
	assert_true(resume_connect(&peer, &rig, rig.rig.acme, KEY));
	stop();
}

/* Its number may have been that of another, whose pidfd is still to be removed. */
static void a_session_without_a_domain_is_taken_for_no_process_of_its_number(void **state)
{
	struct resume_stored *stored = &rig.stored[RESUME_STORED_MAX - 1];

	(void)state;
	start();
	gm_stored_name(GM_STORED_PIDFD, peer.link->session->mark.record, stored->name);
	stored->fd = pidfd_of_the_dead();
	restart();
	resume_fire_exits(&rig);
	assert_true(resume_connect(&peer, &rig, rig.rig.acme, KEY));
	assert_int_equal(resume_count(&rig, GM_STORED_PIDFD), 0);
	stop();
}

/* Taken out and put in again it would be missing to a daemon that starts in between. */
static void the_pidfd_of_a_process_that_comes_back_itself_stays_where_it_is(void **state)
{
	(void)state;
	start();
	resume_pidfd = (int)syscall(SYS_pidfd_open, getpid(), 0);
	assert_true(resume_pidfd >= 0);
	peer.link->session->peer.pid = resume_pid = getpid();
	gm_mark_dirty(&rig.rig.book.marks, &peer.link->session->mark);
	(void)make_domain(&peer, GMEM__LIFETIME__LIFETIME_BOUND, NULL);
	restart();
	rig.remove_result = rig.push_result = -EIO;
	assert_true(resume_connect(&peer, &rig, rig.rig.acme, KEY));
	assert_int_equal(rig.record.n_unremoved, 0);
	assert_int_equal(resume_count(&rig, GM_STORED_PIDFD), 1);
	rig.remove_result = rig.push_result = 0;
	peer_close(&peer);
	assert_int_equal(resume_count(&rig, GM_STORED_PIDFD), 0);
	stop();
}

static void a_session_that_nobody_can_watch_ends_when_nobody_comes(void **state)
{
	struct made_domain bound, persistent;
	struct answer answer;

	(void)state;
	start();
	bound = make_domain(&peer, GMEM__LIFETIME__LIFETIME_BOUND, NULL);
	persistent = make_domain(&peer, GMEM__LIFETIME__LIFETIME_PERSISTENT, NULL);
	restart();
	peer_connect(&other, &rig.rig, rig.rig.acme);
	answer = ask_domain_get(&other, bound.id);
	expect_reply(&answer);
	resume_fire_timer(&rig);
	answer = ask_domain_get(&other, bound.id);
	expect_refusal(&answer, GM_NO_SUCH_OBJECT, GM_RULE_NONE);
	answer = ask_attach(&other, persistent.id, persistent.token, false);
	expect_reply(&answer);
	peer_close(&other);
	assert_false(resume_connect(&peer, &rig, rig.rig.acme, KEY));
	stop();
}

static void who_has_come_back_is_not_ended_by_the_timer(void **state)
{
	struct made_domain bound;
	struct answer answer;

	(void)state;
	start();
	bound = make_domain(&peer, GMEM__LIFETIME__LIFETIME_BOUND, NULL);
	restart_and_resume();
	resume_fire_timer(&rig);
	answer = ask_domain_get(&peer, bound.id);
	expect_reply(&answer);
	stop();
}

static void the_domain_of_an_absent_session_can_be_taken_over(void **state)
{
	struct made_domain domain;
	struct answer answer;

	(void)state;
	start();
	domain = make_domain(&peer, GMEM__LIFETIME__LIFETIME_PERSISTENT, NULL);
	restart();
	peer_connect(&other, &rig.rig, rig.rig.acme);
	answer = ask_attach(&other, domain.id, domain.token, false);
	expect_refusal(&answer, GM_BUSY, GM_RULE_ATTACHED);
	answer = ask_attach(&other, domain.id, domain.token, true);
	expect_reply(&answer);
	assert_true(resume_connect(&peer, &rig, rig.rig.acme, KEY));
	answer = ask_domain_destroy(&peer, domain.id, NULL);
	expect_refusal(&answer, GM_BUSY, GM_RULE_ATTACHED);
	peer_close(&other);
	stop();
}

static void an_orphans_time_goes_on_while_the_daemon_is_away(void **state)
{
	struct made_domain domain;

	(void)state;
	start();
	domain = make_domain(&peer, GMEM__LIFETIME__LIFETIME_PERSISTENT, NULL);
	peer_close(&peer);
	resume_kill(&rig);
	rig.rig.now_ms += 59000;
	resume_restart(&rig);
	gm_service_expire(rig.rig.service);
	assert_int_equal(rig.rig.book.n_domains, 1);
	rig.rig.now_ms += 1001;
	gm_service_expire(rig.rig.service);
	assert_int_equal(rig.rig.book.n_domains, 0);
	(void)domain;
	stop();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		gm_test(a_session_with_a_key_is_resumed_with_its_id_and_its_domains),
		gm_test(charges_are_as_before_the_kill),
		gm_test(a_session_without_a_key_ends_with_the_daemon),
		gm_test(a_key_that_nobody_knows_begins_a_session),
		gm_test(the_key_of_another_tenant_is_not_known),
		gm_test(the_key_of_a_live_connection_is_busy),
		gm_test(a_session_that_has_ended_cannot_be_resumed),
		gm_test(a_key_of_another_length_is_refused),
		gm_test(who_comes_back_is_let_in_over_sessions_max),
		gm_test(without_a_record_a_key_makes_no_difference),
		gm_test(the_pidfd_of_a_session_with_a_domain_is_stored_until_it_ends),
		gm_test(a_process_that_ends_before_it_has_come_back_takes_what_is_bound_along),
		gm_test(a_session_that_is_resumed_has_the_pidfd_of_its_new_connection_stored),
		gm_test(a_session_that_is_resumed_without_a_domain_leaves_no_pidfd_behind),
		gm_test(a_process_that_lives_is_believed_beside_one_of_its_name_that_has_ended),
		gm_test(a_session_without_a_domain_is_taken_for_no_process_of_its_number),
		gm_test(the_pidfd_of_a_process_that_comes_back_itself_stays_where_it_is),
		gm_test(a_session_that_nobody_can_watch_ends_when_nobody_comes),
		gm_test(who_has_come_back_is_not_ended_by_the_timer),
		gm_test(the_domain_of_an_absent_session_can_be_taken_over),
		gm_test(an_orphans_time_goes_on_while_the_daemon_is_away),
	};

	return gm_test_run("service resume", tests, GM_ARRAY_SIZE(tests));
}
