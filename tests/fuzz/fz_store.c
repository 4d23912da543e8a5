/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A record that somebody has written into: opened, loaded, committed and loaded again.
 *
 * The input is a list of changes to a sound record: {what, where in it (2 bytes), length, bytes}.
 * Checksums are made right again where the upper bit of the first byte asks for it, so that what
 * lies behind them is reached.
 */
#include <string.h>
#include <sys/mman.h>

#include "gm_fuzz.h"
#include "store_private.h"
#include "store_rig.h"

#define N_RECORDS 2u /* of each kind */

static const struct gm_store_limits limits = {
	.tenants = 2,
	.sessions = 2,
	.domains = 4,
	.regions = 4,
	.map_gibs = 8,
};

static struct gm_store_area area;
static struct gm_store_layout layout;
static struct gm_store_area sound; /* what every input starts from */

/* ---- the sound record ---- */

static void add_region(struct gm_book *book, struct gm_domain *domain, uint64_t id, uint64_t size)
{
	const struct gm_region_spec spec = {
		.name = "ram", .gpa = id * 64 * GM_GIB, .size = size, .page_size = GM_PAGE_4K
	};
	struct gm_region *region = NULL;

	gm_fuzz_require(gm_book_create_region(book, domain, &spec, (struct gm_region_id){ id },
					      &region, NULL) == 0);
	for (uint64_t page = 0; page < 200; page += 3) {
		const struct gm_range range = { page * GM_PAGE_4K, 2 * GM_PAGE_4K };

		gm_fuzz_require(
			gm_book_restore_pages(region, &range, page % GM_PAGE_STATE_N_, NULL) == 0);
	}
}

static void add_objects(struct gm_book *book, struct gm_tenant *tenant, uint64_t n)
{
	const struct gm_domain_spec spec = { .name = n ? "vm1" : "", .kind = "memfd" };
	const struct gm_token token = { .bytes = { 1 } };
	const struct gm_peer peer = { .pid = 1 };
	struct gm_session *session = NULL;
	struct gm_domain *domain = NULL;

	gm_fuzz_require(gm_book_open_session(book, tenant, (struct gm_session_id){ n + 1 }, &peer,
					     &session, NULL) == 0);
	gm_session_set_state(session, GM_SESSION_OPEN);
	gm_fuzz_require(gm_book_create_domain(book, session, &spec, (struct gm_domain_id){ n + 1 },
					      &token, 5, &domain, NULL) == 0);
	add_region(book, domain, n + 1, n ? 3 * GM_GIB : 300 * GM_PAGE_4K);
}

static void make_sound_record(void)
{
	struct gm_policy policy;
	struct gm_store *store = NULL;
	struct gm_book book;

	gm_fuzz_require(store_rig_map(&sound, &limits) && store_rig_map(&area, &limits));
	gm_fuzz_require(gm_store_lay_out(&limits, &layout));
	gm_fuzz_require(gm_store_format(&sound, &limits, 1) == 0);
	gm_fuzz_require(gm_store_open(&sound, &store, NULL) == 0);
	gm_policy_defaults(&policy, GM_TIB);
	gm_book_init(&book);
	gm_book_start_recording(&book);
	for (uint64_t n = 0; n < N_RECORDS; n++) {
		char name[] = { (char)('a' + n), '\0' };
		struct gm_tenant *tenant = NULL;

		gm_fuzz_require(gm_book_add_tenant(&book, name, &policy, &tenant, NULL) == 0);
		add_objects(&book, tenant, n);
	}
	gm_fuzz_require(gm_store_commit(store, &book, NULL) == 0);
	/* Operations on top of a snapshot. */
	for (struct gm_region *region = NULL; (region = gm_book_next_region(&book, region));) {
		const struct gm_range range = { 50 * GM_PAGE_4K, GM_PAGE_4K };

		gm_mark_whole_map(&book.marks, region);
		gm_fuzz_require(gm_store_commit(store, &book, NULL) == 0);
		gm_fuzz_require(gm_book_restore_pages(region, &range, GM_PAGE_LOST, NULL) == 0);
		gm_fuzz_require(gm_store_commit(store, &book, NULL) == 0);
	}
	store_rig_clear(&book);
	gm_store_close(store);
}

/* ---- changes ---- */

/* What a change is made to. */
struct target {
	unsigned char *at;
	size_t size;
	bool has_check; /* in its first word */
};

static struct target record_of(enum gm_mark_kind kind, unsigned n)
{
	return (struct target){ (unsigned char *)area.at[GM_STORE_STATE] + layout.table[kind] +
					n * layout.slot_size[kind],
				layout.slot_size[kind], true };
}

static struct target target_of(unsigned what)
{
	unsigned char *state = area.at[GM_STORE_STATE];
	unsigned char *maps = area.at[GM_STORE_MAPS];
	unsigned n = what & 1;

	switch (what >> 1 & 15) {
	case 0:
		return (struct target){ state, sizeof(struct gm_store_header), false };
	case 1:
		return (struct target){ state + layout.counters, sizeof(struct gm_store_counters),
					true };
	case 2:
		return (struct target){ state + layout.log_control, sizeof(struct gm_store_log),
					false };
	case 3:
		return (struct target){ state + layout.log, 256, false };
	case 4:
	case 5:
	case 6:
	case 7:
		return record_of((enum gm_mark_kind)((what >> 1 & 15) - 4), n);
	case 8:
		return (struct target){ state + layout.answers + n * 128, 128, true };
	case 9:
		return (struct target){ maps, sizeof(struct gm_store_maps_header), false };
	case 10:
		return (struct target){ maps + layout.heads + n * 32, 32, true };
	case 11:
		return (struct target){ maps + layout.slots + n * GM_STORE_GIB_SIZE, 64, false };
	default:
		return (struct target){ maps + layout.slots + n * GM_STORE_GIB_SIZE +
						GM_STORE_SNAPSHOT_AT(1),
					4096, false };
	}
}

/* A snapshot's checksum is in its head, and the log's in its control. */
static void reseal_all(void)
{
	struct gm_store_log *log = (void *)((char *)area.at[GM_STORE_STATE] + layout.log_control);

	for (unsigned gib = 0; gib < limits.map_gibs; gib++) {
		struct gm_store_gib_head *head = (void *)((char *)area.at[GM_STORE_MAPS] +
							  layout.heads + gib * sizeof(*head));
		const char *slot = (char *)area.at[GM_STORE_MAPS] + layout.slots +
				   (size_t)gib * GM_STORE_GIB_SIZE;

		if (head->base != GM_STORE_SNAPSHOT || head->active > 1 ||
		    head->snapshot_size > GM_PAGE_GIB_BYTES_MAX)
			continue;
		head->snapshot_check = gm_store_checksum(slot + GM_STORE_SNAPSHOT_AT(head->active),
							 head->snapshot_size & ~7u);
		head->check = gm_store_record_check(head, sizeof(*head));
	}
	if (log->committed <= layout.log_size)
		log->check = gm_store_checksum((char *)area.at[GM_STORE_STATE] + layout.log,
					       log->committed & ~UINT64_C(7));
}

static void change(const uint8_t *data, size_t size)
{
	bool reseal = false;

	while (size > 4) {
		struct target target = target_of(data[0]);
		size_t at = (data[1] | (size_t)data[2] << 8) % target.size;
		size_t n = data[3] % 32;

		n = gm_min_u64(gm_min_u64(n, target.size - at), size - 4);
		memcpy(target.at + at, data + 4, n);
		if (data[0] & 0x80) {
			uint64_t check = gm_store_record_check(target.at, target.size);

			if (target.has_check)
				memcpy(target.at, &check, sizeof(check));
			reseal = true;
		}
		data += 4 + n;
		size -= 4 + n;
	}
	if (reseal)
		reseal_all();
}

static void restore_area(void)
{
	/* Only what is ever written: the slots are large. */
	for (unsigned part = 0; part < GM_STORE_PART_N_; part++)
		memcpy(area.at[part], sound.at[part],
		       part == GM_STORE_STATE ? sound.size[part] : layout.slots);
	for (unsigned gib = 0; gib < limits.map_gibs; gib++) {
		size_t at = layout.slots + (size_t)gib * GM_STORE_GIB_SIZE;

		for (unsigned active = 0; active < 2; active++)
			memcpy((char *)area.at[GM_STORE_MAPS] + at + GM_STORE_SNAPSHOT_AT(active),
			       (char *)sound.at[GM_STORE_MAPS] + at + GM_STORE_SNAPSHOT_AT(active),
			       GM_PAGE_4K);
		memcpy((char *)area.at[GM_STORE_MAPS] + at, (char *)sound.at[GM_STORE_MAPS] + at,
		       GM_PAGE_4K);
	}
}

/* ---- the target ---- */

static bool look(uint64_t *ret_digest, bool commit)
{
	struct store_rig_load load = { 0 };
	struct gm_store *store = NULL;
	struct gm_refusal refusal;
	struct gm_book book;

	if (gm_store_open(&area, &store, &refusal) != 0)
		return false;
	gm_book_init(&book);
	load.book = &book;
	gm_fuzz_require(store_rig_load(&load, store, 9) == 0);
	gm_fuzz_require(store_rig_adds_up(&book));
	for (struct gm_region *region = NULL; (region = gm_book_next_region(&book, region));)
		for (unsigned op = 0; op < GM_PAGE_OP_JOBS_N_; op++)
			region->n_jobs_of[op] = 0;
	*ret_digest = store_rig_digest(&book);
	if (commit)
		gm_fuzz_require(gm_store_commit(store, &book, NULL) == 0);
	store_rig_clear(&book);
	gm_store_close(store);
	return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint64_t digest;
	uint64_t again;

	if (!area.at[0])
		make_sound_record();
	restore_area();
	change(data, size);
	if (!look(&digest, true))
		return 0;
	/* What has come back once and is recorded comes back again. */
	gm_fuzz_require(look(&again, false) && again == digest);
	return 0;
}
