/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Records of other versions, and damaged ones: what is not believed is reported, and stops nothing
 * else from coming back.
 *
 * store_version_0.txt is a record as version 0 wrote it, and so on: part, offset and bytes of what
 * is not zero. They were made once, and are never made again: what they say is what is out there.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "store_fixture.h"

static void *state_at(struct recorded *world, uint64_t offset)
{
	return (char *)world->area.at[GM_STORE_STATE] + offset;
}

static void *maps_at(struct recorded *world, uint64_t offset)
{
	return (char *)world->area.at[GM_STORE_MAPS] + offset;
}

/* A domain with a region, of which one page is shared; recorded. */
static struct gm_region *record_region(struct recorded *world)
{
	struct gm_region *region;

	recorded_init(world);
	region = recorded_region(world, recorded_domain(world, "vm1"), 0, 2 * GM_GIB);
	recorded_pages(region, 1, 1, GM_PAGE_SHARED);
	recorded_commit(world);
	return region;
}

static int open_again(struct recorded *world)
{
	struct gm_store *store = NULL;
	int r = gm_store_open(&world->area, &store, &world->refusal);

	gm_store_close(store);
	return r;
}

/* ---- versions ---- */

static void a_newer_record_is_refused_with_both_versions_and_left_untouched(void **state)
{
	struct gm_store_header *header;
	struct gm_store_header before;
	struct recorded world;

	(void)state;
	record_region(&world);
	header = state_at(&world, 0);
	header->version = 7;
	header->compat = GM_STORE_VERSION + 1;
	before = *header;
	assert_int_equal(open_again(&world), GM_UNSUPPORTED);
	assert_non_null(strstr(world.refusal.text, "version 7"));
	assert_non_null(strstr(world.refusal.text, "knows version 4"));
	assert_memory_equal(header, &before, sizeof(before));
	recorded_done(&world);
}

static void a_newer_record_that_this_daemon_may_read_is_read(void **state)
{
	struct gm_store_header *header;
	struct recorded world;

	(void)state;
	record_region(&world);
	header = state_at(&world, 0);
	header->version = GM_STORE_VERSION + 1;
	recorded_restart(&world, true);
	assert_non_null(recorded_only_region(&world));
	recorded_commit(&world);
	assert_int_equal(header->version, GM_STORE_VERSION);
	recorded_done(&world);
}

static void put_line(struct gm_store_area *area, const char *line)
{
	uint64_t offset;
	char part;
	int at;

	assert_int_equal(sscanf(line, "%c %" SCNx64 "%n", &part, &offset, &at), 2);
	for (const char *hex = line + at + 1; *hex && *hex != '\n'; hex += 2, offset++) {
		unsigned char *to = area->at[part == 'm' ? GM_STORE_MAPS : GM_STORE_STATE];
		char pair[3] = { hex[0], hex[1], '\0' };

		assert_true(offset < area->size[part == 'm' ? GM_STORE_MAPS : GM_STORE_STATE]);
		to[offset] = (unsigned char)strtoul(pair, NULL, 16);
	}
}

static void read_fixture(struct gm_store_area *area, const char *name)
{
	char line[256];
	FILE *file = fopen(name, "re");

	assert_non_null(file);
	while (fgets(line, sizeof(line), file))
		if (line[0] == 's' || line[0] == 'm')
			put_line(area, line);
	fclose(file);
}

static void a_record_of_version_0_is_read_and_written_anew(void **state)
{
	struct recorded world = { 0 };
	const struct gm_store_header *header;
	struct gm_domain *domain;
	struct gm_region *region;

	(void)state;
	assert_true(store_rig_map(&world.area, &recorded_limits));
	read_fixture(&world.area, FIXTURES "/store_version_0.txt");
	header = state_at(&world, 0);
	assert_int_equal(header->version, 0);
	gm_book_init(&world.book);
	recorded_restart(&world, true);
	assert_int_equal(world.load.n_damaged, 0);
	assert_string_equal(world.session->client, "vmm");
	domain = recorded_only_domain(&world);
	assert_string_equal(domain->name, "vm1");
	assert_int_equal(domain->token.bytes[0], 9);
	assert_null(domain->session);
	/* It did not say since when it is orphaned: since now. */
	assert_int_equal(domain->orphaned_ms, 9000);
	assert_false(domain->quarantined);
	region = recorded_only_region(&world);
	assert_int_equal(region->size, 2 * GM_GIB);
	assert_int_equal(region->allocated_bytes, GM_GIB + GM_PAGE_4K);
	recorded_commit(&world);
	assert_int_equal(header->version, GM_STORE_VERSION);
	assert_int_equal(header->compat, GM_STORE_COMPAT);
	/* From now on it says. */
	recorded_restart(&world, true);
	assert_int_equal(recorded_only_domain(&world)->orphaned_ms, 9000);
	recorded_done(&world);
}

static void a_record_of_version_1_is_read_and_grants_nothing_new(void **state)
{
	struct recorded world = { 0 };
	const struct gm_store_header *header;
	const struct gm_domain *domain;

	(void)state;
	assert_true(store_rig_map(&world.area, &recorded_limits));
	read_fixture(&world.area, FIXTURES "/store_version_1.txt");
	header = state_at(&world, 0);
	assert_int_equal(header->version, 1);
	gm_book_init(&world.book);
	recorded_restart(&world, true);
	assert_int_equal(world.load.n_damaged, 0);
	domain = recorded_only_domain(&world);
	assert_string_equal(domain->name, "vm1");
	assert_null(domain->session);
	assert_int_equal(domain->orphaned_ms, 5000);
	assert_int_equal(gm_domain_slot(domain), -1);
	assert_int_equal(domain->memlock.amount, 0);
	assert_int_equal(recorded_only_region(&world)->allocated_bytes, GM_GIB + GM_PAGE_4K);
	recorded_commit(&world);
	assert_int_equal(header->version, GM_STORE_VERSION);
	assert_int_equal(header->compat, GM_STORE_COMPAT);
	recorded_done(&world);
}

static void a_record_of_version_2_is_read_and_has_no_private_memory(void **state)
{
	struct recorded world = { 0 };
	const struct gm_store_header *header;
	const struct gm_domain *domain;
	const struct gm_region *region;

	(void)state;
	assert_true(store_rig_map(&world.area, &recorded_limits));
	read_fixture(&world.area, FIXTURES "/store_version_2.txt");
	header = state_at(&world, 0);
	assert_int_equal(header->version, 2);
	gm_book_init(&world.book);
	recorded_restart(&world, true);
	assert_int_equal(world.load.n_damaged, 0);
	domain = recorded_only_domain(&world);
	assert_string_equal(domain->name, "vm1");
	assert_int_equal(domain->traits, 0);
	assert_int_equal(gm_domain_slot(domain), 1);
	assert_int_equal(domain->memlock.amount, 0x7000);
	region = recorded_only_region(&world);
	assert_int_equal(region->allocated_bytes, GM_GIB + GM_PAGE_4K);
	assert_int_equal(region->private_fd, -1);
	assert_false(region->bound);
	assert_null(region->step);
	recorded_commit(&world);
	assert_int_equal(header->version, GM_STORE_VERSION);
	assert_int_equal(header->compat, GM_STORE_COMPAT);
	recorded_done(&world);
}

static void a_record_of_version_3_is_read_and_knows_no_digest(void **state)
{
	struct recorded world = { 0 };
	const struct gm_store_header *header;
	const struct gm_domain *domain;
	const struct gm_region *region;

	(void)state;
	assert_true(store_rig_map(&world.area, &recorded_limits));
	read_fixture(&world.area, FIXTURES "/store_version_3.txt");
	header = state_at(&world, 0);
	assert_int_equal(header->version, 3);
	gm_book_init(&world.book);
	recorded_restart(&world, true);
	assert_int_equal(world.load.n_damaged, 0);
	domain = recorded_only_domain(&world);
	assert_int_equal(domain->traits, GM_TRAIT_PRIVATE | GM_TRAIT_LAUNCH);
	assert_int_equal(gm_domain_launch_state(domain), GM_LAUNCH_POPULATING);
	assert_int_equal(domain->launch->digest[0], 0);
	region = recorded_only_region(&world);
	assert_int_equal(region->private_file.inode, 0x77);
	assert_int_equal(region->step->id, 0x55);
	assert_int_equal(region->order.id, 0);
	assert_int_equal(region->map.pages[GM_PAGE_MEASURED], 1);
	recorded_commit(&world);
	assert_int_equal(header->version, GM_STORE_VERSION);
	assert_int_equal(header->compat, GM_STORE_COMPAT);
	recorded_done(&world);
}

/* ---- what is no record ---- */

static void zeros_are_no_record(void **state)
{
	struct gm_store *store = NULL;
	struct gm_store_area area;

	(void)state;
	assert_true(store_rig_map(&area, &recorded_limits));
	assert_int_equal(gm_store_open(&area, &store, NULL), -EBADMSG);
	store_rig_unmap(&area);
}

static void a_damaged_header_is_no_record(void **state)
{
	struct recorded world;

	(void)state;
	record_region(&world);
	for (size_t i = offsetof(struct gm_store_header, check); i < sizeof(struct gm_store_header);
	     i++) {
		unsigned char *byte = state_at(&world, i);

		*byte ^= 0x40;
		assert_int_equal(open_again(&world), -EBADMSG);
		*byte ^= 0x40;
	}
	assert_int_equal(open_again(&world), 0);
	recorded_done(&world);
}

static void the_maps_of_another_record_are_refused(void **state)
{
	struct gm_store_maps_header *maps;
	struct recorded world;

	(void)state;
	record_region(&world);
	maps = maps_at(&world, 0);
	maps->id++;
	assert_int_equal(open_again(&world), -EBADMSG);
	recorded_done(&world);
}

static void files_that_are_too_small_are_refused(void **state)
{
	struct recorded world;

	(void)state;
	record_region(&world);
	world.area.size[GM_STORE_MAPS] -= GM_PAGE_4K;
	assert_int_equal(open_again(&world), -EBADMSG);
	world.area.size[GM_STORE_MAPS] += GM_PAGE_4K;
	recorded_done(&world);
}

static void a_committed_log_that_is_damaged_is_not_carried_out(void **state)
{
	struct gm_store_log *log;
	struct recorded world;

	(void)state;
	record_region(&world);
	log = state_at(&world, world.store->layout.log_control);
	log->committed = 64;
	assert_int_equal(open_again(&world), -EBADMSG);
	log->committed = UINT64_MAX;
	assert_int_equal(open_again(&world), -EBADMSG);
	recorded_done(&world);
}

static void a_log_that_leads_out_of_the_area_is_not_carried_out(void **state)
{
	struct gm_store_log *log;
	struct recorded world;
	uint64_t *entry;

	(void)state;
	record_region(&world);
	log = state_at(&world, world.store->layout.log_control);
	entry = state_at(&world, world.store->layout.log);
	entry[0] = UINT64_C(1) << 47 | (world.store->layout.state_size + 4096);
	log->check = gm_store_checksum(entry, 16);
	log->committed = 16;
	assert_int_equal(open_again(&world), -EBADMSG);
	/* Nor one that writes into itself. */
	entry[0] = UINT64_C(1) << 47 | world.store->layout.log;
	log->check = gm_store_checksum(entry, 16);
	assert_int_equal(open_again(&world), -EBADMSG);
	recorded_done(&world);
}

/* ---- damaged records ---- */

/* Changes the record and makes its checksum right again. */
static void *reseal(struct recorded *world, enum gm_mark_kind kind)
{
	void *record = gm_store_record(world->store, kind, 1);
	uint64_t check = gm_store_record_check(record, world->store->layout.slot_size[kind]);

	memcpy(record, &check, sizeof(check));
	return record;
}

static void a_damaged_domain_is_reported_with_its_regions(void **state)
{
	struct gm_store_domain *record;
	struct recorded world;

	(void)state;
	record_region(&world);
	recorded_domain(&world, "vm2");
	recorded_commit(&world);
	record = gm_store_record(world.store, GM_MARK_DOMAIN, 1);
	record->token[5] ^= 1;
	recorded_restart(&world, true);
	assert_int_equal(world.load.n_damaged, 2);
	assert_non_null(strstr(world.load.why, "domain"));
	assert_string_equal(recorded_only_domain(&world)->name, "vm2");
	assert_null(recorded_only_region(&world));
	/* It is kept, and nothing new takes its place. */
	recorded_domain(&world, "vm3");
	recorded_commit(&world);
	recorded_restart(&world, true);
	assert_int_equal(world.load.n_damaged, 2);
	assert_int_equal(world.book.n_domains, 2);
	recorded_done(&world);
}

static void a_region_that_cannot_be_is_reported(void **state)
{
	struct gm_store_region *record;
	struct gm_store_region before;
	struct recorded world;

	(void)state;
	record_region(&world);
	record = gm_store_record(world.store, GM_MARK_REGION, 1);
	before = *record;
	for (unsigned i = 0; i < 8; i++) {
		*record = before;
		switch (i) {
		case 0:
			record->size = 0;
			break;
		case 1:
			record->size = UINT64_MAX - 4095;
			break;
		case 2:
			record->page_size = 5;
			break;
		case 3:
			record->gpa = UINT64_MAX - 4095;
			break;
		case 4:
			record->map_first = 15;
			break;
		case 5:
			record->map_order = 40;
			break;
		case 6:
			memset(record->name, 'x', sizeof(record->name));
			break;
		default:
			record->domain = 77;
			break;
		}
		reseal(&world, GM_MARK_REGION);
		recorded_restart(&world, true);
		assert_int_equal(world.load.n_damaged, 1);
		assert_null(recorded_only_region(&world));
		assert_non_null(recorded_only_domain(&world));
	}
	recorded_done(&world);
}

static void two_regions_with_one_page_map_are_not_believed(void **state)
{
	struct gm_store_region *second;
	struct recorded world;
	uint64_t check;

	(void)state;
	record_region(&world);
	recorded_region(&world, recorded_only_domain(&world), 64 * GM_GIB, 2 * GM_GIB);
	recorded_commit(&world);
	second = gm_store_record(world.store, GM_MARK_REGION, 2);
	second->map_first = 0;
	check = gm_store_record_check(second, sizeof(*second));
	second->check = check;
	recorded_restart(&world, true);
	assert_int_equal(world.load.n_damaged, 1);
	assert_int_equal(world.book.n_regions, 1);
	recorded_done(&world);
}

static void a_domain_whose_session_is_damaged_is_orphaned_now(void **state)
{
	struct gm_store_session *record;
	struct recorded world;

	(void)state;
	record_region(&world);
	record = gm_store_record(world.store, GM_MARK_SESSION, 1);
	record->pid++;
	recorded_restart(&world, true);
	assert_int_equal(world.load.n_damaged, 1);
	assert_null(recorded_only_domain(&world)->session);
	assert_int_equal(recorded_only_domain(&world)->orphaned_ms, 9000);
	recorded_done(&world);
}

static void a_gib_whose_head_is_damaged_is_lost_and_the_next_is_not(void **state)
{
	struct gm_store_gib_head *head;
	struct recorded world;
	struct gm_region *region;

	(void)state;
	region = record_region(&world);
	recorded_pages(region, 262144, 1, GM_PAGE_SHARED);
	recorded_commit(&world);
	head = maps_at(&world, gm_store_head_at(world.store, 0));
	head->region_id ^= 1;
	recorded_restart(&world, true);
	assert_int_equal(world.load.n_damaged, 1);
	region = recorded_only_region(&world);
	assert_int_equal(region->map.pages[GM_PAGE_LOST], 262144);
	assert_int_equal(region->map.pages[GM_PAGE_SHARED], 1);
	/* That they are lost is recorded in turn. */
	recorded_commit(&world);
	recorded_restart(&world, true);
	assert_int_equal(world.load.n_damaged, 0);
	assert_int_equal(recorded_only_region(&world)->map.pages[GM_PAGE_LOST], 262144);
	recorded_done(&world);
}

static void a_damaged_operation_makes_its_gib_lost(void **state)
{
	struct recorded world;
	uint64_t *op;

	(void)state;
	record_region(&world);
	op = maps_at(&world, gm_store_slot_at(world.store, 0));
	*op ^= 2;
	recorded_restart(&world, true);
	assert_int_equal(world.load.n_damaged, 1);
	assert_int_equal(recorded_only_region(&world)->map.pages[GM_PAGE_LOST], 262144);
	recorded_done(&world);
}

static void a_damaged_snapshot_makes_its_gib_lost(void **state)
{
	struct recorded world;
	struct gm_region *region;
	unsigned char *snapshot;

	(void)state;
	region = record_region(&world);
	for (unsigned i = 0; i < GM_STORE_OPS_MAX; i++) {
		recorded_pages(region, 3 * i % 500, 1, i % 2 ? GM_PAGE_SHARED : GM_PAGE_PRIVATE);
		recorded_commit(&world);
	}
	recorded_restart(&world, true);
	assert_int_equal(world.load.n_damaged, 0);
	snapshot = maps_at(&world, gm_store_slot_at(world.store, 0) + GM_STORE_SNAPSHOT_AT(1));
	snapshot[40] ^= 1;
	recorded_restart(&world, true);
	assert_int_equal(world.load.n_damaged, 1);
	assert_int_equal(recorded_only_region(&world)->map.pages[GM_PAGE_LOST], 262144);
	recorded_done(&world);
}

static void a_damaged_answer_is_reported_and_not_given(void **state)
{
	struct gm_store_answer answer = { .serial = 5, .type = 1, .length = 1 };
	struct gm_store_answer_slot *slot;
	struct gm_store_answer found;
	struct recorded world;

	(void)state;
	record_region(&world);
	answer.session = world.session;
	assert_int_equal(gm_store_commit(world.store, &world.book, &answer), 0);
	slot = state_at(&world, world.store->layout.answers);
	slot->length = 5000;
	recorded_restart(&world, true);
	assert_int_equal(world.load.n_damaged, 1);
	assert_non_null(world.session);
	assert_false(gm_store_find_answer(world.store, world.session, 5, &found));
	recorded_done(&world);
}

static void what_a_launch_has_measured_is_not_believed_when_it_is_damaged(void **state)
{
	const struct gm_store_domain *record;
	struct gm_store_launch *launch;
	struct recorded world;
	uint64_t at;

	(void)state;
	recorded_init(&world);
	recorded_launch(&world, "vm1", 5);
	recorded_commit(&world);
	record = gm_store_record(world.store, GM_MARK_DOMAIN, 1);
	at = gm_store_slot_at(world.store, record->launch_gib - 1);
	launch = maps_at(&world, at + GM_STORE_LAUNCH_AT(record->launch_copy));
	launch->digest[77] ^= 1;
	recorded_restart(&world, true);
	assert_int_equal(world.load.n_damaged, 1);
	assert_non_null(strstr(world.load.why, "has measured is damaged"));
	assert_int_equal(gm_domain_launch_state(recorded_only_domain(&world)), GM_LAUNCH_OPEN);
	assert_int_equal(recorded_only_domain(&world)->launch->digest[0], 0);
	recorded_done(&world);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		gm_test(a_newer_record_is_refused_with_both_versions_and_left_untouched),
		gm_test(a_newer_record_that_this_daemon_may_read_is_read),
		gm_test(a_record_of_version_0_is_read_and_written_anew),
		gm_test(a_record_of_version_1_is_read_and_grants_nothing_new),
		gm_test(a_record_of_version_2_is_read_and_has_no_private_memory),
		gm_test(a_record_of_version_3_is_read_and_knows_no_digest),
		gm_test(zeros_are_no_record),
		gm_test(a_damaged_header_is_no_record),
		gm_test(the_maps_of_another_record_are_refused),
		gm_test(files_that_are_too_small_are_refused),
		gm_test(a_committed_log_that_is_damaged_is_not_carried_out),
		gm_test(a_log_that_leads_out_of_the_area_is_not_carried_out),
		gm_test(a_damaged_domain_is_reported_with_its_regions),
		gm_test(a_region_that_cannot_be_is_reported),
		gm_test(two_regions_with_one_page_map_are_not_believed),
		gm_test(a_domain_whose_session_is_damaged_is_orphaned_now),
		gm_test(a_gib_whose_head_is_damaged_is_lost_and_the_next_is_not),
		gm_test(a_damaged_operation_makes_its_gib_lost),
		gm_test(a_damaged_snapshot_makes_its_gib_lost),
		gm_test(a_damaged_answer_is_reported_and_not_given),
		gm_test(what_a_launch_has_measured_is_not_believed_when_it_is_damaged),
	};

	return gm_test_run("damaged records", tests, GM_ARRAY_SIZE(tests));
}
