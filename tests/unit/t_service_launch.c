/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Launches as a client sees them: the one order, what an honest VMM gets, and what one that skips,
 * repeats, swaps or lies gets for it. The digest in the books is that of what was reported.
 */
#include <stdlib.h>
#include <sys/mman.h>

#include "call.h"
#include "launch_rules.h"
#include "slot.h"
#include "step_rig.h"

static struct rig rig;
static struct peer peer, other;
static struct made_domain domain;
static char folder[] = "/tmp/gmemd-launch-XXXXXX";

static const struct gm_range first = { 0, 2 * GM_MIB };
static const struct gm_range second = { 2 * GM_MIB, 2 * GM_MIB };

static void write_file(const char *name, const char *text)
{
	char path[64];
	FILE *file;

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	file = fopen(path, "we");
	assert_non_null(file);
	assert_true(fprintf(file, "%s %s\n", gm_slot_pools[GM_SLOT_ES].resource, text) > 0);
	assert_int_equal(fclose(file), 0);
}

static void change_policy(void (*change)(struct gm_policy *policy))
{
	struct gm_policy policy = rig.acme->policy;

	change(&policy);
	gm_book_set_policy(rig.acme, &policy);
}

static void allow_slots(struct gm_policy *policy)
{
	policy->slots_max[GM_SLOT_ES] = 8;
}

static void start(void)
{
	strcpy(folder + strlen(folder) - 6, "XXXXXX");
	assert_non_null(mkdtemp(folder));
	write_file("misc.capacity", "2");
	write_file("misc.current", "0");
	rig_private = true;
	rig_launched = true;
	rig_start(&rig);
	rig.exec.cgroup_root = folder;
	change_policy(allow_slots);
	peer_connect(&peer, &rig, rig.acme);
	peer_connect(&other, &rig, rig.acme);
	domain = make_domain(&peer, GMEM__LIFETIME__LIFETIME_BOUND, "vm1");
}

static void stop(void)
{
	char path[64];

	if (peer.link != NULL)
		peer_close(&peer);
	peer_close(&other);
	rig_stop(&rig);
	rig_private = false;
	rig_launched = false;
	snprintf(path, sizeof(path), "%s/misc.capacity", folder);
	(void)unlink(path);
	snprintf(path, sizeof(path), "%s/misc.current", folder);
	(void)unlink(path);
	(void)rmdir(folder);
}

static void expect_refused(struct answer answer, enum gm_verdict verdict, enum gm_rule rule)
{
	expect_refusal(&answer, verdict, rule);
}

/* ---- what a client asks ---- */

static struct answer ask_start(struct peer *from, uint64_t id)
{
	Gmem__LaunchStartRequest request = GMEM__LAUNCH_START_REQUEST__INIT;

	request.has_domain = 1;
	request.domain = id;
	return peer_ask(from, GM_MSG_LAUNCH_START, &request.base);
}

static struct answer ask_abort(uint64_t id)
{
	Gmem__LaunchAbortRequest request = GMEM__LAUNCH_ABORT_REQUEST__INIT;

	request.has_domain = 1;
	request.domain = id;
	return peer_ask(&peer, GM_MSG_LAUNCH_ABORT, &request.base);
}

/* Of the domain's own step. */
static struct answer report(struct peer *from, uint64_t id, uint64_t step, uint32_t sys_errno)
{
	Gmem__StepDoneRequest request = GMEM__STEP_DONE_REQUEST__INIT;

	request.has_domain = 1;
	request.domain = id;
	request.has_step = 1;
	request.step = step;
	request.has_sys_errno = 1;
	request.sys_errno = sys_errno;
	return peer_ask(from, GM_MSG_STEP_DONE, &request.base);
}

static void open_launch(struct peer *from, uint64_t id)
{
	struct answer answer = ask_start(from, id);
	const Gmem__LaunchStartReply *reply = expect_reply(&answer);

	assert_int_equal(reply->step->kind, GMEM__STEP_KIND__STEP_LAUNCH_START);
	step_expect_good(report(from, id, reply->step->step, 0));
}

static int new_file(uint8_t content, uint64_t size, int seals)
{
	int fd = memfd_create("source", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	static uint8_t page[GM_PAGE_4K];

	assert_true(fd >= 0);
	memset(page, content, sizeof(page));
	for (uint64_t at = 0; at < size; at += gm_min_u64(size - at, GM_PAGE_4K))
		assert_true(write(fd, page, gm_min_u64(size - at, GM_PAGE_4K)) > 0);
	assert_int_equal(fcntl(fd, F_ADD_SEALS, seals), 0);
	return fd;
}

#define SEALED (F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW)

/* SOURCE with @fd, which is taken. */
static struct answer ask_source(int fd)
{
	Gmem__SourceRequest request = GMEM__SOURCE_REQUEST__INIT;

	request.has_domain = 1;
	request.domain = domain.id;
	request.has_box = 1;
	request.box = step_box(&peer, domain.id, fd);
	gm_fd_close(fd);
	return peer_ask(&peer, GM_MSG_SOURCE, &request.base);
}

static uint64_t make_source(uint8_t content)
{
	struct answer answer = ask_source(new_file(content, 2 * GM_MIB, SEALED));
	const Gmem__SourceReply *reply = expect_reply(&answer);

	assert_int_equal(reply->size, 2 * GM_MIB);
	return reply->source;
}

static uint32_t send_populate(const struct step_region *region, const struct gm_range *range,
			      Gmem__PageType type, uint64_t source)
{
	Gmem__PopulateRequest request = GMEM__POPULATE_REQUEST__INIT;

	request.has_region = 1;
	request.region = region->id;
	request.has_offset = 1;
	request.offset = range->offset;
	request.has_length = 1;
	request.length = range->length;
	request.has_type = 1;
	request.type = type;
	request.has_source = source != 0;
	request.source = source;
	return peer_send(&peer, GM_MSG_POPULATE, &request.base);
}

/* Answered at once: refused. */
static struct answer try_populate(const struct step_region *region, const struct gm_range *range,
				  Gmem__PageType type, uint64_t source)
{
	uint32_t serial = send_populate(region, range, type, source);
	struct answer answer = peer_take(&peer);

	assert_int_equal(answer.frame.serial, serial);
	return answer;
}

/* Hashed: its step is under way. */
static void begin_populate(struct step_region *region, const struct gm_range *range,
			   Gmem__PageType type, uint64_t source)
{
	struct answer answer;

	(void)send_populate(region, range, type, source);
	assert_non_null(fake_crew_first(rig.hub));
	fake_crew_finish(fake_crew_first(rig.hub));
	answer = peer_take(&peer);
	region->step = ((const Gmem__PopulateReply *)expect_reply(&answer))->step->step;
}

static struct answer report_populated(struct step_region *region, const struct gm_range *range,
				      uint32_t sys_errno, uint64_t bytes)
{
	return step_done(region, sys_errno, (uint32_t)(bytes / GM_PAGE_4K), range, 1);
}

static void populate(struct step_region *region, const struct gm_range *range, uint64_t source)
{
	begin_populate(region, range, GMEM__PAGE_TYPE__PAGE_TYPE_NORMAL, source);
	step_expect_good(report_populated(region, range, 0, range->length));
}

struct finish {
	Gmem__LaunchFinishRequest request;
	Gmem__Vcpus vcpus;
	uint8_t id_block[96];
	uint8_t id_auth[4096];
};

/* One vCPU as after QEMU's reset. */
static struct finish *new_finish(void)
{
	static struct finish finish;

	memset(&finish, 0, sizeof(finish));
	gmem__launch_finish_request__init(&finish.request);
	gmem__vcpus__init(&finish.vcpus);
	finish.request.has_domain = 1;
	finish.request.domain = domain.id;
	finish.request.vcpus = &finish.vcpus;
	finish.vcpus.has_how = 1;
	finish.vcpus.how = GMEM__VCPUS_HOW__VCPUS_MODEL;
	finish.vcpus.has_count = 1;
	finish.vcpus.count = 1;
	finish.vcpus.has_vmm = 1;
	finish.vcpus.vmm = bytes_of("qemu");
	return &finish;
}

static struct answer ask_finish(const struct finish *finish)
{
	return peer_ask(&peer, GM_MSG_LAUNCH_FINISH, &finish->request.base);
}

static void add_id_block(struct finish *finish, const uint8_t digest[48])
{
	memcpy(finish->id_block, digest, 48);
	finish->request.has_id_block = 1;
	finish->request.id_block =
		(ProtobufCBinaryData){ sizeof(finish->id_block), finish->id_block };
	finish->request.has_id_auth = 1;
	finish->request.id_auth = (ProtobufCBinaryData){ sizeof(finish->id_auth), finish->id_auth };
}

static struct answer look(void)
{
	return ask_domain_get(&peer, domain.id);
}

static Gmem__LaunchState launch_state(void)
{
	struct answer answer = look();

	return ((const Gmem__DomainGetReply *)expect_reply(&answer))->info->launch;
}

static void read_measurement(uint8_t digest[48])
{
	struct answer answer = look();
	const Gmem__DomainInfo *info = ((const Gmem__DomainGetReply *)expect_reply(&answer))->info;

	assert_true(info->has_measurement);
	assert_int_equal(info->measurement.len, 48);
	memcpy(digest, info->measurement.data, 48);
}

/* ---- the way it is meant ---- */

static void a_launch_from_start_to_finish(void **state)
{
	uint8_t before[48], after[48];
	struct step_region region;
	struct answer answer;

	(void)state;
	start();
	assert_int_equal(launch_state(), GMEM__LAUNCH_STATE__LAUNCH_READY);
	region = step_bound_region(&peer, domain.id, 0);
	open_launch(&peer, domain.id);
	read_measurement(before);
	populate(&region, &first, make_source(1));
	read_measurement(after);
	assert_memory_not_equal(before, after, sizeof(before));
	assert_int_equal(step_pages(&rig, region.id, GM_PAGE_MEASURED), first.length);
	answer = ask_finish(new_finish());
	region.step = ((const Gmem__LaunchFinishReply *)expect_reply(&answer))->step->step;
	assert_int_equal(launch_state(), GMEM__LAUNCH_STATE__LAUNCH_FINISHING);
	step_expect_good(report(&peer, domain.id, region.step, 0));
	assert_int_equal(launch_state(), GMEM__LAUNCH_STATE__LAUNCH_RUNNING);
	step_region_close(&region);
	stop();
}

static void what_is_hashed_is_hashed_on_all_cores(void **state)
{
	struct step_region region;

	(void)state;
	start();
	rig.exec.job_threads = 4;
	region = step_bound_region(&peer, domain.id, 0);
	open_launch(&peer, domain.id);
	(void)send_populate(&region, &first, GMEM__PAGE_TYPE__PAGE_TYPE_NORMAL, make_source(1));
	assert_int_equal(fake_crew_order(fake_crew_first(rig.hub))->n_threads, 4);
	fake_crew_finish(fake_crew_first(rig.hub));
	(void)peer_take(&peer);
	step_region_close(&region);
	stop();
}

static void the_books_measure_what_went_in_where_and_in_which_order(void **state)
{
	uint8_t chain[GM_LAUNCH_BLOB_SIZE], digest[48], expected[48];
	static uint8_t content[2 * GM_MIB];
	struct step_region region;
	size_t size;

	(void)state;
	start();
	region = step_bound_region(&peer, domain.id, GM_GIB);
	open_launch(&peer, domain.id);
	populate(&region, &second, make_source(5));
	begin_populate(&region, &first, GMEM__PAGE_TYPE__PAGE_TYPE_ZERO, 0);
	step_expect_good(report_populated(&region, &first, 0, first.length));
	read_measurement(digest);

	memset(content, 5, sizeof(content));
	gm_fake_backend.launch->begin(chain);
	assert_int_equal(
		gm_launch_put(chain,
			      &(struct gm_launch_put){ GM_POPULATE_NORMAL, GM_GIB + second.offset,
						       second.length, content, 1, NULL, 0 },
			      NULL),
		0);
	assert_int_equal(gm_launch_put(chain,
				       &(struct gm_launch_put){ GM_POPULATE_ZERO, GM_GIB,
								first.length, NULL, 1, NULL, 0 },
				       NULL),
			 0);
	assert_int_equal(gm_launch_peek(chain, expected, &size, NULL), 0);
	assert_memory_equal(digest, expected, size);
	step_region_close(&region);
	stop();
}

/* ---- order ---- */

static void nothing_comes_before_its_time(void **state)
{
	struct step_region region;

	(void)state;
	start();
	region = step_bound_region(&peer, domain.id, 0);
	expect_refused(try_populate(&region, &first, GMEM__PAGE_TYPE__PAGE_TYPE_ZERO, 0),
		       GM_WRONG_STATE, GM_RULE_LAUNCH_STATE);
	expect_refused(ask_finish(new_finish()), GM_WRONG_STATE, GM_RULE_LAUNCH_STATE);
	expect_refused(report(&peer, domain.id, 7, 0), GM_INVALID, GM_RULE_STEP);
	open_launch(&peer, domain.id);
	expect_refused(ask_start(&peer, domain.id), GM_WRONG_STATE, GM_RULE_LAUNCH_STATE);
	step_region_close(&region);
	stop();
}

static void while_one_population_is_hashed_or_under_way_no_other_begins(void **state)
{
	struct step_region region;
	struct answer answer;

	(void)state;
	start();
	region = step_bound_region(&peer, domain.id, 0);
	open_launch(&peer, domain.id);
	(void)send_populate(&region, &first, GMEM__PAGE_TYPE__PAGE_TYPE_ZERO, 0);
	expect_refused(try_populate(&region, &second, GMEM__PAGE_TYPE__PAGE_TYPE_ZERO, 0), GM_BUSY,
		       GM_RULE_JOBS_UNDER_WAY);
	expect_refused(ask_finish(new_finish()), GM_BUSY, GM_RULE_JOBS_UNDER_WAY);
	fake_crew_finish(fake_crew_first(rig.hub));
	answer = peer_take(&peer);
	region.step = ((const Gmem__PopulateReply *)expect_reply(&answer))->step->step;
	expect_refused(try_populate(&region, &second, GMEM__PAGE_TYPE__PAGE_TYPE_ZERO, 0),
		       GM_WRONG_STATE, GM_RULE_LAUNCH_STATE);
	step_expect_good(report_populated(&region, &first, 0, first.length));
	step_region_close(&region);
	stop();
}

static void a_page_is_not_populated_twice(void **state)
{
	struct step_region region;

	(void)state;
	start();
	region = step_bound_region(&peer, domain.id, 0);
	open_launch(&peer, domain.id);
	populate(&region, &first, make_source(1));
	expect_refused(try_populate(&region, &first, GMEM__PAGE_TYPE__PAGE_TYPE_ZERO, 0),
		       GM_WRONG_STATE, GM_RULE_PAGE_STATE);
	step_region_close(&region);
	stop();
}

/* ---- lies and failures ---- */

static void a_failure_ends_the_launch_and_nothing_repairs_it(void **state)
{
	struct step_region region;
	uint64_t source;

	(void)state;
	start();
	region = step_bound_region(&peer, domain.id, 0);
	open_launch(&peer, domain.id);
	source = make_source(1);
	begin_populate(&region, &first, GMEM__PAGE_TYPE__PAGE_TYPE_NORMAL, source);
	step_expect_good(report_populated(&region, &first, EIO, GM_MIB));
	assert_int_equal(launch_state(), GMEM__LAUNCH_STATE__LAUNCH_FAILED);
	assert_int_equal(step_pages(&rig, region.id, GM_PAGE_MEASURED), GM_MIB);
	assert_int_equal(step_pages(&rig, region.id, GM_PAGE_LOST), GM_MIB);
	expect_refused(try_populate(&region, &second, GMEM__PAGE_TYPE__PAGE_TYPE_NORMAL, source),
		       GM_WRONG_STATE, GM_RULE_LAUNCH_STATE);
	expect_refused(ask_finish(new_finish()), GM_WRONG_STATE, GM_RULE_LAUNCH_STATE);
	expect_refused(ask_source(new_file(1, GM_PAGE_4K, SEALED)), GM_WRONG_STATE,
		       GM_RULE_LAUNCH_STATE);
	step_region_close(&region);
	stop();
}

static void the_firmware_error_of_a_failed_step_is_told_to_the_operator(void **state)
{
	Gmem__StepDoneRequest request = GMEM__STEP_DONE_REQUEST__INIT;
	const Gmem__LaunchStartReply *started;
	struct answer answer;

	(void)state;
	start();
	answer = ask_start(&peer, domain.id);
	started = expect_reply(&answer);
	request.has_domain = 1;
	request.domain = domain.id;
	request.has_step = 1;
	request.step = started->step->step;
	request.has_sys_errno = 1;
	request.sys_errno = EIO;
	request.has_firmware_error = 1;
	request.firmware_error = 0x17;
	step_expect_good(peer_ask(&peer, GM_MSG_STEP_DONE, &request.base));
	assert_int_equal(rig_news.kind, GM_NEWS_FAILURE);
	assert_int_equal(rig_news.result, -EIO);
	assert_string_equal(rig_news.text, "a launch has failed: the start: firmware error "
					   "RESOURCE_LIMIT (0x17), EIO");
	stop();
}

static void a_part_reported_as_all_is_not_believed(void **state)
{
	struct step_region region;

	(void)state;
	start();
	region = step_bound_region(&peer, domain.id, 0);
	open_launch(&peer, domain.id);
	begin_populate(&region, &first, GMEM__PAGE_TYPE__PAGE_TYPE_NORMAL, make_source(1));
	expect_refused(report_populated(&region, &first, 0, GM_MIB), GM_INVALID, GM_RULE_STEP);
	expect_refused(report_populated(&region, &second, 0, second.length), GM_INVALID,
		       GM_RULE_STEP);
	assert_int_equal(step_pages(&rig, region.id, GM_PAGE_MEASURED), 0);
	step_expect_good(report_populated(&region, &first, 0, first.length));
	expect_refused(report_populated(&region, &first, 0, first.length), GM_INVALID,
		       GM_RULE_STEP);
	step_region_close(&region);
	stop();
}

static void a_step_that_is_not_reported_in_time_has_failed(void **state)
{
	struct step_region region;
	struct answer answer;

	(void)state;
	start();
	region = step_bound_region(&peer, domain.id, 0);
	answer = ask_start(&peer, domain.id);
	(void)expect_reply(&answer);
	rig_turn(&rig, 31000);
	gm_service_expire(rig.service);
	assert_int_equal(launch_state(), GMEM__LAUNCH_STATE__LAUNCH_FAILED);
	step_region_close(&region);
	stop();
}

static void a_worker_that_dies_leaves_the_launch_as_it_was(void **state)
{
	struct step_region region;
	struct answer answer;
	uint64_t source;

	(void)state;
	start();
	region = step_bound_region(&peer, domain.id, 0);
	open_launch(&peer, domain.id);
	source = make_source(1);
	(void)send_populate(&region, &first, GMEM__PAGE_TYPE__PAGE_TYPE_NORMAL, source);
	fake_crew_end(fake_crew_first(rig.hub), GM_JOB_WORKER_LOST, 11);
	answer = peer_take(&peer);
	expect_refusal(&answer, GM_WORKER_LOST, GM_RULE_WORKER);
	assert_int_equal(launch_state(), GMEM__LAUNCH_STATE__LAUNCH_OPEN);
	populate(&region, &first, source);
	step_region_close(&region);
	stop();
}

static void an_abort_inside_a_population_leaves_nothing_to_go_on_with(void **state)
{
	struct step_region region;
	struct answer answer;

	(void)state;
	start();
	region = step_bound_region(&peer, domain.id, 0);
	open_launch(&peer, domain.id);
	(void)send_populate(&region, &first, GMEM__PAGE_TYPE__PAGE_TYPE_NORMAL, make_source(1));
	step_expect_good(ask_abort(domain.id));
	fake_crew_finish(fake_crew_first(rig.hub));
	answer = peer_take(&peer);
	expect_refusal(&answer, GM_WRONG_STATE, GM_RULE_LAUNCH_STATE);
	step_region_close(&region);
	stop();
}

/* ---- sources ---- */

static void a_source_is_sealed_whole_and_without_holes(void **state)
{
	static const int missing[] = { F_SEAL_WRITE, F_SEAL_SHRINK, F_SEAL_GROW };
	int hollow = memfd_create("hollow", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	int pipes[2];

	(void)state;
	start();
	for (size_t i = 0; i < GM_ARRAY_SIZE(missing); i++)
		expect_refused(ask_source(new_file(1, GM_PAGE_4K, SEALED & ~missing[i])),
			       GM_INVALID, GM_RULE_SOURCE);
	expect_refused(ask_source(new_file(1, GM_PAGE_4K,
					   F_SEAL_FUTURE_WRITE | F_SEAL_SHRINK | F_SEAL_GROW)),
		       GM_INVALID, GM_RULE_SOURCE);
	expect_refused(ask_source(new_file(1, GM_PAGE_4K + 1, SEALED)), GM_INVALID, GM_RULE_SOURCE);
	expect_refused(ask_source(new_file(1, 0, SEALED)), GM_INVALID, GM_RULE_SOURCE);
	assert_int_equal(ftruncate(hollow, GM_MIB), 0);
	assert_int_equal(fcntl(hollow, F_ADD_SEALS, SEALED), 0);
	expect_refused(ask_source(hollow), GM_INVALID, GM_RULE_SOURCE);
	assert_int_equal(pipe2(pipes, O_CLOEXEC), 0);
	gm_fd_close(pipes[1]);
	expect_refused(ask_source(pipes[0]), GM_INVALID, GM_RULE_SOURCE);
	stop();
}

static void a_population_stays_inside_its_source_and_names_one_that_is_there(void **state)
{
	const struct gm_range long_range = { 0, 4 * GM_MIB };
	struct step_region region;
	uint64_t source;

	(void)state;
	start();
	region = step_bound_region(&peer, domain.id, 0);
	open_launch(&peer, domain.id);
	source = make_source(1);
	expect_refused(
		try_populate(&region, &long_range, GMEM__PAGE_TYPE__PAGE_TYPE_NORMAL, source),
		GM_INVALID, GM_RULE_SOURCE);
	expect_refused(try_populate(&region, &first, GMEM__PAGE_TYPE__PAGE_TYPE_NORMAL, source + 1),
		       GM_NO_SUCH_OBJECT, GM_RULE_SOURCE);
	expect_refused(try_populate(&region, &first, GMEM__PAGE_TYPE__PAGE_TYPE_NORMAL, 0),
		       GM_INVALID, GM_RULE_SOURCE);
	expect_refused(try_populate(&region, &first, GMEM__PAGE_TYPE__PAGE_TYPE_ZERO, source),
		       GM_INVALID, GM_RULE_SOURCE);
	expect_refused(try_populate(&region, &first, GMEM__PAGE_TYPE__PAGE_TYPE_SECRETS, 0),
		       GM_INVALID, GM_RULE_FLAGS);
	expect_refused(try_populate(&region, &first, (Gmem__PageType)6, 0), GM_INVALID,
		       GM_RULE_FLAGS);
	step_region_close(&region);
	stop();
}

static void sources_are_closed_when_the_launch_is_over(void **state)
{
	(void)state;
	start();
	open_launch(&peer, domain.id);
	(void)make_source(1);
	(void)make_source(2);
	assert_int_equal(fake_crew_disposed(rig.hub), 0);
	step_expect_good(ask_abort(domain.id));
	assert_int_equal(fake_crew_disposed(rig.hub), 2);
	stop();
}

/* ---- the end ---- */

static void allow_nothing_known(struct gm_policy *policy)
{
	policy->n_measurements = 1;
	policy->measurements[0].size = 48;
}

static void a_measurement_that_is_not_allowed_is_refused_by_its_name_and_changes_nothing(
	void **state)
{
	struct step_region region;
	struct answer answer;

	(void)state;
	start();
	region = step_bound_region(&peer, domain.id, 0);
	open_launch(&peer, domain.id);
	change_policy(allow_nothing_known);
	answer = ask_finish(new_finish());
	expect_refusal(&answer, GM_DENIED, GM_RULE_MEASUREMENT_ALLOW);
	expect_text(&answer, "which is not allowed");
	assert_int_equal(launch_state(), GMEM__LAUNCH_STATE__LAUNCH_OPEN);
	step_region_close(&region);
	stop();
}

static void what_cannot_be_known_is_refused_where_something_is_allowed_and_told_elsewhere(
	void **state)
{
	struct finish *finish = new_finish();
	const Gmem__DomainInfo *info;
	struct answer answer;

	(void)state;
	start();
	finish->request.domain = domain.id;
	open_launch(&peer, domain.id);
	finish->vcpus.how = GMEM__VCPUS_HOW__VCPUS_UNKNOWN;
	change_policy(allow_nothing_known);
	answer = ask_finish(finish);
	expect_refusal(&answer, GM_DENIED, GM_RULE_MEASUREMENT_ALLOW);
	expect_text(&answer, "unpredictable: ");
	rig.acme->policy.n_measurements = 0;
	answer = ask_finish(finish);
	step_expect_good(
		report(&peer, domain.id,
		       ((const Gmem__LaunchFinishReply *)expect_reply(&answer))->step->step, 0));
	answer = look();
	info = ((const Gmem__DomainGetReply *)expect_reply(&answer))->info;
	assert_false(info->has_measurement);
	assert_true(info->has_measurement_reason);
	stop();
}

static void require_id_block(struct gm_policy *policy)
{
	policy->require_id_block = true;
}

static void an_id_block_is_of_its_size_and_for_this_launch(void **state)
{
	struct finish *finish = new_finish();
	static const uint8_t wrong[48] = { 1 };
	uint8_t blob[GM_LAUNCH_BLOB_SIZE], digest[48];
	struct answer answer;
	size_t size;

	(void)state;
	start();
	finish->request.domain = domain.id;
	open_launch(&peer, domain.id);
	change_policy(require_id_block);
	expect_refused(ask_finish(finish), GM_DENIED, GM_RULE_REQUIRE_ID_BLOCK);
	add_id_block(finish, wrong);
	answer = ask_finish(finish);
	expect_refusal(&answer, GM_INVALID, GM_RULE_REQUIRE_ID_BLOCK);
	expect_text(&answer, "this one will be ");
	finish->request.id_auth.len--;
	expect_refused(ask_finish(finish), GM_INVALID, GM_RULE_REQUIRE_ID_BLOCK);
	gm_fake_backend.launch->begin(blob);
	assert_int_equal(gm_fake_backend.launch->finish(
				 blob,
				 &(struct gm_launch_vcpus){
					 .how = GM_VCPUS_MODEL, .count = 1, .vmm = "qemu" },
				 NULL),
			 0);
	assert_int_equal(gm_launch_peek(blob, digest, &size, NULL), 0);
	add_id_block(finish, digest);
	step_expect_good(ask_finish(finish));
	stop();
}

static void the_registers_may_be_pages_of_a_source(void **state)
{
	struct finish *finish = new_finish();
	struct step_region region;
	uint32_t serial;
	struct answer answer;

	(void)state;
	start();
	finish->request.domain = domain.id;
	region = step_bound_region(&peer, domain.id, 0);
	open_launch(&peer, domain.id);
	finish->vcpus.how = GMEM__VCPUS_HOW__VCPUS_PAGES;
	finish->vcpus.has_vmm = 0;
	finish->vcpus.count = 3;
	finish->vcpus.has_source = 1;
	finish->vcpus.source = make_source(9);
	serial = peer_send(&peer, GM_MSG_LAUNCH_FINISH, &finish->request.base);
	assert_int_equal(fake_crew_order(fake_crew_first(rig.hub))->digest.type, GM_POPULATE_VCPU);
	fake_crew_finish(fake_crew_first(rig.hub));
	answer = peer_take(&peer);
	assert_int_equal(answer.frame.serial, serial);
	assert_int_equal(((const Gmem__LaunchFinishReply *)expect_reply(&answer))->step->kind,
			 GMEM__STEP_KIND__STEP_LAUNCH_FINISH);
	step_region_close(&region);
	stop();
}

/* ---- slots ---- */

static void a_launch_without_a_slot_left_is_refused_in_advance_with_the_numbers(void **state)
{
	Gmem__DomainCreateRequest request = GMEM__DOMAIN_CREATE_REQUEST__INIT;
	struct answer answer;

	(void)state;
	start();
	request.has_kind = 1;
	request.kind = bytes_of("fake");
	answer = peer_ask(&peer, GM_MSG_DOMAIN_CREATE, &request.base);
	step_expect_good(answer);
	answer = peer_ask(&peer, GM_MSG_DOMAIN_CREATE, &request.base);
	expect_refusal(&answer, GM_NO_RESOURCE, GM_RULE_SLOTS);
	expect_numbers(&answer, 2, 2, 1);
	step_expect_good(ask_domain_destroy(&peer, domain.id, NULL));
	step_expect_good(peer_ask(&peer, GM_MSG_DOMAIN_CREATE, &request.base));
	stop();
}

static void two_launches_go_on_side_by_side(void **state)
{
	struct made_domain neighbour;
	struct step_region region;

	(void)state;
	start();
	neighbour = make_domain(&other, GMEM__LIFETIME__LIFETIME_BOUND, "vm2");
	region = step_bound_region(&peer, domain.id, 0);
	open_launch(&peer, domain.id);
	open_launch(&other, neighbour.id);
	begin_populate(&region, &first, GMEM__PAGE_TYPE__PAGE_TYPE_NORMAL, make_source(1));
	expect_refused(ask_start(&other, domain.id), GM_BUSY, GM_RULE_ATTACHED);
	step_expect_good(ask_domain_destroy(&other, neighbour.id, NULL));
	step_expect_good(report_populated(&region, &first, 0, first.length));
	assert_int_equal(launch_state(), GMEM__LAUNCH_STATE__LAUNCH_OPEN);
	step_region_close(&region);
	stop();
}

static void a_vmm_that_dies_inside_a_launch_leaves_nothing_behind(void **state)
{
	struct step_region region;

	(void)state;
	start();
	region = step_bound_region(&peer, domain.id, 0);
	open_launch(&peer, domain.id);
	(void)send_populate(&region, &first, GMEM__PAGE_TYPE__PAGE_TYPE_NORMAL, make_source(1));
	peer_close(&peer);
	fake_crew_finish(fake_crew_first(rig.hub));
	assert_int_equal(rig.acme->account.used[GM_RES_SLOT_1], 0);
	step_region_close(&region);
	stop();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		gm_test(a_launch_from_start_to_finish),
		gm_test(what_is_hashed_is_hashed_on_all_cores),
		gm_test(the_books_measure_what_went_in_where_and_in_which_order),
		gm_test(nothing_comes_before_its_time),
		gm_test(while_one_population_is_hashed_or_under_way_no_other_begins),
		gm_test(a_page_is_not_populated_twice),
		gm_test(a_failure_ends_the_launch_and_nothing_repairs_it),
		gm_test(the_firmware_error_of_a_failed_step_is_told_to_the_operator),
		gm_test(a_part_reported_as_all_is_not_believed),
		gm_test(a_step_that_is_not_reported_in_time_has_failed),
		gm_test(a_worker_that_dies_leaves_the_launch_as_it_was),
		gm_test(an_abort_inside_a_population_leaves_nothing_to_go_on_with),
		gm_test(a_source_is_sealed_whole_and_without_holes),
		gm_test(a_population_stays_inside_its_source_and_names_one_that_is_there),
		gm_test(sources_are_closed_when_the_launch_is_over),
		gm_test(a_measurement_that_is_not_allowed_is_refused_by_its_name_and_changes_nothing),
		gm_test(what_cannot_be_known_is_refused_where_something_is_allowed_and_told_elsewhere),
		gm_test(an_id_block_is_of_its_size_and_for_this_launch),
		gm_test(the_registers_may_be_pages_of_a_source),
		gm_test(a_launch_without_a_slot_left_is_refused_in_advance_with_the_numbers),
		gm_test(two_launches_go_on_side_by_side),
		gm_test(a_vmm_that_dies_inside_a_launch_leaves_nothing_behind),
	};

	return gm_test_run("service_launch", tests, GM_ARRAY_SIZE(tests));
}
