/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a new daemon believes of what it finds: memory that is what the record says, and what jobs
 * had done that were cut short. All else is quarantined, kept and said, and nothing else suffers.
 */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "call.h"
#include "gm_fd.h"
#include "resume_rig.h"

#define KEY 0x5a

static struct resume_rig rig;
static struct peer peer;
static struct made_domain domain;
static uint64_t region, sound;

/* A domain with two regions of 4 MiB. */
static void start(void)
{
	memset(&peer, 0, sizeof(peer));
	resume_start(&rig);
	assert_false(resume_connect(&peer, &rig, rig.rig.acme, KEY));
	domain = make_domain(&peer, GMEM__LIFETIME__LIFETIME_BOUND, "vm1");
	region = make_region(&peer, domain.id, 0, 4 * GM_MIB);
	sound = make_region(&peer, domain.id, GM_GIB, 4 * GM_MIB);
}

static void stop(void)
{
	peer_close(&peer);
	resume_stop(&rig);
}

static void kill_it(void)
{
	resume_kill(&rig);
	resume_forget(&peer);
}

static void go_on(void)
{
	resume_restart(&rig);
	peer.serial = 1000;
	assert_true(resume_connect(&peer, &rig, rig.rig.acme, KEY));
}

static const Gmem__RegionInfo *info_of(uint64_t id)
{
	struct answer answer = ask_region_get(&peer, id, false);

	return ((const Gmem__RegionGetReply *)expect_reply(&answer))->info;
}

static void expect_quarantine(uint64_t id)
{
	struct answer answer;

	assert_true(info_of(id)->quarantined);
	answer = ask_region_get(&peer, id, true);
	expect_refusal(&answer, GM_WRONG_STATE, GM_RULE_QUARANTINE);
	(void)start_allocate(&peer, id, 0, GM_PAGE_4K);
	answer = peer_take(&peer);
	expect_refusal(&answer, GM_WRONG_STATE, GM_RULE_QUARANTINE);
}

static void expect_sound(uint64_t id)
{
	struct answer answer = ask_region_get(&peer, id, true);

	assert_false(((const Gmem__RegionGetReply *)expect_reply(&answer))->info->quarantined);
	assert_int_equal(answer.frame.n_fds, 1);
	answer_close(&answer);
}

/* The stored fd of the region that was made first. */
static struct resume_stored *stored_first(void)
{
	return resume_find(&rig, GM_STORED_REGION);
}

static void replace(struct resume_stored *stored, int fd)
{
	assert_true(fd >= 0);
	gm_fd_close(stored->fd);
	stored->fd = fd;
}

static void a_region_without_its_memory_is_quarantined_and_the_others_are_not(void **state)
{
	(void)state;
	start();
	kill_it();
	gm_fd_close(stored_first()->fd);
	stored_first()->name[0] = '\0';
	go_on();
	assert_int_equal(rig.restore.n_quarantined, 1);
	assert_int_equal(rig.restore.n_regions, 2);
	expect_quarantine(region);
	expect_sound(sound);
	assert_int_equal(rig.rig.acme->account.used[GM_RES_MEMORY], 8 * GM_MIB);
	stop();
}

/* Its first answer had the memory: the same answer without it would be another one. */
static void the_answer_of_a_quarantined_region_is_refused(void **state)
{
	Gmem__RegionCreateRequest request = GMEM__REGION_CREATE_REQUEST__INIT;
	struct answer answer;

	(void)state;
	start();
	kill_it();
	gm_fd_close(stored_first()->fd);
	stored_first()->name[0] = '\0';
	go_on();
	request.has_domain = 1;
	request.domain = domain.id;
	peer.serial = 2; /* HELLO, DOMAIN_CREATE, and then the region */
	answer = peer_ask(&peer, GM_MSG_REGION_CREATE, &request.base);
	expect_refusal(&answer, GM_WRONG_STATE, GM_RULE_QUARANTINE);
	stop();
}

static void a_quarantined_region_can_be_destroyed(void **state)
{
	struct answer answer;

	(void)state;
	start();
	kill_it();
	replace(stored_first(), gm_fd_dup(STDIN_FILENO));
	go_on();
	expect_quarantine(region);
	answer = ask_region_destroy(&peer, region);
	expect_reply(&answer);
	assert_int_equal(rig.rig.acme->account.used[GM_RES_MEMORY], 4 * GM_MIB);
	assert_int_equal(resume_count(&rig, GM_STORED_REGION), 1);
	stop();
}

static void another_file_of_the_same_size_is_not_believed(void **state)
{
	struct gm_refusal refusal;
	int fd = -1;

	(void)state;
	start();
	kill_it();
	assert_int_equal(gm_fake_backend.create(rig.rig.exec.backends[2].state,
						&(struct gm_backing){ .size = 4 * GM_MIB,
								      .page_size = GM_PAGE_4K,
								      .name = "false" },
						&fd, &refusal),
			 0);
	replace(stored_first(), fd);
	go_on();
	expect_quarantine(region);
	expect_sound(sound);
	/* It may be somebody's: it stays where it was. */
	assert_int_equal(resume_count(&rig, GM_STORED_REGION), 2);
	stop();
}

static void the_right_one_of_two_of_a_name_is_found_and_both_go_with_the_region(void **state)
{
	struct answer answer;

	(void)state;
	start();
	kill_it();
	rig.stored[RESUME_STORED_MAX - 1] = *stored_first();
	rig.stored[RESUME_STORED_MAX - 1].fd = gm_fd_dup(stored_first()->fd);
	replace(stored_first(), memfd_create("false", MFD_CLOEXEC));
	go_on();
	expect_sound(region);
	expect_sound(sound);
	/* Removed and stored again, it would be lost by a kill in between. */
	assert_int_equal(resume_count(&rig, GM_STORED_REGION), 3);
	kill_it();
	go_on();
	expect_sound(region);
	answer = ask_region_destroy(&peer, region);
	expect_reply(&answer);
	assert_int_equal(resume_count(&rig, GM_STORED_REGION), 1);
	stop();
}

static void what_a_wrong_fd_has_kept_out_comes_back_with_the_right_one(void **state)
{
	int right;

	(void)state;
	start();
	kill_it();
	right = gm_fd_dup(stored_first()->fd);
	replace(stored_first(), gm_fd_dup(STDIN_FILENO));
	go_on();
	expect_quarantine(region);
	kill_it();
	replace(stored_first(), right);
	go_on();
	expect_sound(region);
	stop();
}

static void what_is_nobodys_is_removed_when_a_busy_keeper_takes_it(void **state)
{
	(void)state;
	start();
	kill_it();
	rig.stored[RESUME_STORED_MAX - 1].fd = memfd_create("nobody's", MFD_CLOEXEC);
	snprintf(rig.stored[RESUME_STORED_MAX - 1].name, GM_STORED_NAME_SIZE, "+r1f");
	rig.remove_result = -EAGAIN;
	go_on();
	assert_int_equal(resume_count(&rig, GM_STORED_REGION), 3);
	rig.remove_result = 0;
	resume_fire_timer(&rig);
	assert_int_equal(resume_count(&rig, GM_STORED_REGION), 2);
	stop();
}

static void stored_fds_that_no_record_names_are_removed(void **state)
{
	(void)state;
	start();
	kill_it();
	rig.stored[40] = (struct resume_stored){ .fd = memfd_create("made, not granted", 0) };
	gm_stored_name(GM_STORED_REGION, 30, rig.stored[40].name);
	rig.stored[41] = (struct resume_stored){ .fd = gm_fd_dup(STDIN_FILENO) };
	gm_stored_name(GM_STORED_PIDFD, 9, rig.stored[41].name);
	go_on();
	assert_int_equal(resume_count(&rig, GM_STORED_REGION), 2);
	assert_int_equal(resume_count(&rig, GM_STORED_PIDFD), 0);
	stop();
}

static void a_domain_of_a_kind_that_is_gone_is_quarantined(void **state)
{
	struct answer answer;

	(void)state;
	start();
	kill_it();
	resume_restart(&rig);
	/* As if this daemon had been built without it. */
	peer.serial = 1000;
	gm_book_quarantine_domain(gm_book_next_domain(&rig.rig.book, NULL));
	assert_true(resume_connect(&peer, &rig, rig.rig.acme, KEY));
	answer = ask_domain_get(&peer, domain.id);
	assert_true(((const Gmem__DomainGetReply *)expect_reply(&answer))->info->quarantined);
	answer = ask_region_get(&peer, sound, true);
	expect_refusal(&answer, GM_WRONG_STATE, GM_RULE_QUARANTINE);
	answer = ask_domain_destroy(&peer, domain.id, NULL);
	expect_reply(&answer);
	stop();
}

/* ---- page maps and jobs ---- */

static uint64_t allocated(uint64_t id)
{
	return info_of(id)->allocated_bytes;
}

static void the_page_map_comes_back(void **state)
{
	struct answer answer;

	(void)state;
	start();
	(void)start_allocate(&peer, region, GM_MIB, GM_MIB);
	fake_crew_finish(fake_crew_first(rig.rig.hub));
	answer = peer_take(&peer);
	while (answer.frame.type != GM_MSG_ALLOCATE)
		answer = peer_take(&peer);
	expect_reply(&answer);
	kill_it();
	go_on();
	assert_int_equal(allocated(region), GM_MIB);
	assert_int_equal(allocated(sound), 0);
	stop();
}

static void expect_all_on_record(void *arg)
{
	bool *seen = arg;

	assert_true(gm_marks_are_clear(&rig.rig.book.marks));
	*seen = true;
}

/* A worker begins at once: were gmemd killed then, nobody would look for what it has done. */
static void a_job_is_on_record_before_a_worker_has_it(void **state)
{
	bool seen = false;

	(void)state;
	start();
	fake_crew_on_submit(rig.rig.hub, expect_all_on_record, &seen);
	(void)start_allocate(&peer, region, 0, 4 * GM_MIB);
	assert_true(seen);
	fake_crew_finish(fake_crew_first(rig.rig.hub));
	stop();
}

/* The number that its memory has there may be another region's before the job lets go. */
static void a_domain_that_ends_under_a_job_leaves_the_fd_store_at_once(void **state)
{
	struct gm_crew_job *job;

	(void)state;
	start();
	(void)start_allocate(&peer, region, 0, GM_MIB);
	job = fake_crew_first(rig.rig.hub);
	assert_true(resume_count(&rig, GM_STORED_REGION) > 0);
	peer_close(&peer);
	assert_int_equal(resume_count(&rig, GM_STORED_REGION), 0);
	fake_crew_end(job, GM_JOB_CANCELLED, 0);
	assert_int_equal(rig.rig.acme->account.used[GM_RES_MEMORY], 0);
	resume_stop(&rig);
}

static void what_a_job_has_reported_is_there_again(void **state)
{
	struct gm_crew_job *job;

	(void)state;
	start();
	(void)start_allocate(&peer, region, 0, 4 * GM_MIB);
	job = fake_crew_first(rig.rig.hub);
	fake_crew_report(job, 0, 2 * GM_MIB);
	kill_it();
	fake_crew_end(job, GM_JOB_CANCELLED, 0);
	go_on();
	assert_int_equal(allocated(region), 2 * GM_MIB);
	assert_int_equal(gm_service_jobs(rig.rig.service), 0);
	stop();
}

static void what_a_job_had_done_and_not_reported_is_found(void **state)
{
	struct gm_crew_job *job;

	(void)state;
	start();
	(void)start_allocate(&peer, region, 0, 4 * GM_MIB);
	job = fake_crew_first(rig.rig.hub);
	fake_crew_work(job, GM_MIB, GM_MIB);
	kill_it();
	fake_crew_end(job, GM_JOB_CANCELLED, 0);
	go_on();
	assert_int_equal(allocated(region), GM_MIB);
	/* It is booked for good now. */
	kill_it();
	go_on();
	assert_int_equal(allocated(region), GM_MIB);
	stop();
}

static void a_job_that_was_cut_short_is_done_when_it_is_asked_for_again(void **state)
{
	struct gm_crew_job *job;
	struct answer answer;
	uint32_t serial;

	(void)state;
	start();
	serial = start_allocate(&peer, region, 0, 4 * GM_MIB);
	job = fake_crew_first(rig.rig.hub);
	fake_crew_report(job, 0, GM_MIB);
	kill_it();
	fake_crew_end(job, GM_JOB_CANCELLED, 0);
	go_on();
	peer.serial = serial - 1;
	(void)start_allocate(&peer, region, 0, 4 * GM_MIB);
	assert_int_equal(fake_crew_count(rig.rig.hub), 1);
	fake_crew_finish(fake_crew_first(rig.rig.hub));
	do
		answer = peer_take(&peer);
	while (answer.frame.type != GM_MSG_ALLOCATE);
	assert_int_equal(((const Gmem__AllocateReply *)expect_reply(&answer))->bytes, 4 * GM_MIB);
	stop();
}

static void a_job_that_was_answered_is_not_done_again(void **state)
{
	struct answer answer;
	uint32_t serial;

	(void)state;
	start();
	serial = start_allocate(&peer, region, 0, GM_MIB);
	fake_crew_finish(fake_crew_first(rig.rig.hub));
	kill_it();
	go_on();
	peer.serial = serial - 1;
	(void)start_allocate(&peer, region, 0, GM_MIB);
	assert_int_equal(fake_crew_count(rig.rig.hub), 0);
	answer = peer_take(&peer);
	assert_int_equal(answer.frame.serial, serial);
	assert_int_equal(((const Gmem__AllocateReply *)expect_reply(&answer))->bytes, GM_MIB);
	stop();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		gm_test(a_region_without_its_memory_is_quarantined_and_the_others_are_not),
		gm_test(the_answer_of_a_quarantined_region_is_refused),
		gm_test(a_quarantined_region_can_be_destroyed),
		gm_test(another_file_of_the_same_size_is_not_believed),
		gm_test(the_right_one_of_two_of_a_name_is_found_and_both_go_with_the_region),
		gm_test(what_a_wrong_fd_has_kept_out_comes_back_with_the_right_one),
		gm_test(stored_fds_that_no_record_names_are_removed),
		gm_test(what_is_nobodys_is_removed_when_a_busy_keeper_takes_it),
		gm_test(a_domain_of_a_kind_that_is_gone_is_quarantined),
		gm_test(the_page_map_comes_back),
		gm_test(a_job_is_on_record_before_a_worker_has_it),
		gm_test(a_domain_that_ends_under_a_job_leaves_the_fd_store_at_once),
		gm_test(what_a_job_has_reported_is_there_again),
		gm_test(what_a_job_had_done_and_not_reported_is_found),
		gm_test(a_job_that_was_cut_short_is_done_when_it_is_asked_for_again),
		gm_test(a_job_that_was_answered_is_not_done_again),
	};

	return gm_test_run("service restore", tests, GM_ARRAY_SIZE(tests));
}
