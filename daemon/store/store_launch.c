/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What launches have measured. A commit costs the same however much that is: the digest is a block
 * of one size. A domain that has begun no launch has nothing here.
 */
#include <errno.h>
#include <string.h>

#include "gm_fault.h"
#include "store_private.h"
#include "store_words.h"

static uint64_t copy_at(const struct gm_store *store, const struct gm_store_launch_place *place,
			unsigned copy)
{
	return gm_store_slot_at(store, place->gib - 1) + GM_STORE_LAUNCH_AT(copy);
}

bool gm_store_wants_launch(const struct gm_store *store, const struct gm_domain *domain)
{
	return domain->launch && domain->launch->changed &&
	       store->launches[domain->mark.record - 1].gib == 0;
}

bool gm_store_take_launch(struct gm_store *store, uint32_t record)
{
	struct gm_store_launch_place *place = &store->launches[record - 1];
	uint32_t gib;

	if (!gm_ranges_take(&store->ranges, 0, &gib))
		return false;
	*place = (struct gm_store_launch_place){ .gib = gib + 1 };
	return true;
}

void gm_store_give_launch(struct gm_store *store, uint32_t record)
{
	struct gm_store_launch_place *place = &store->launches[record - 1];

	if (place->gib == 0)
		return;
	gm_ranges_give(&store->ranges, 0, place->gib - 1);
	place->gib = 0;
}

void gm_store_release_launch(struct gm_store *store, uint32_t record)
{
	const struct gm_store_launch_place *place = &store->launches[record - 1];

	if (store->release && place->gib != 0)
		store->release(store->release_arg, GM_STORE_MAPS,
			       gm_store_slot_at(store, place->gib - 1), GM_STORE_GIB_SIZE);
}

static void write_copy(struct gm_store *store, const struct gm_domain *domain,
		       const struct gm_store_launch_place *place)
{
	const struct gm_launch *launch = domain->launch;
	struct gm_store_launch copy = {
		.domain_id = domain->id.v,
		.sys_errno = launch->failure.sys_errno,
		.firmware_error = launch->failure.firmware_error,
	};

	memcpy(copy.failure, launch->failure.text, sizeof(copy.failure));
	memcpy(copy.digest, launch->digest, sizeof(copy.digest));
	memcpy(copy.next_digest, launch->next_digest, sizeof(copy.next_digest));
	copy.check = gm_store_record_check(&copy, sizeof(copy));
	gm_store_copy_words(store->at[GM_STORE_MAPS] + copy_at(store, place, place->copy), &copy,
			    sizeof(copy));
}

void gm_store_put_launch(struct gm_store *store, const struct gm_domain *domain,
			 struct gm_store_domain *record)
{
	struct gm_store_launch_place *place = &store->launches[domain->mark.record - 1];

	if (place->gib == 0)
		return;
	if (domain->launch->changed) {
		place->copy ^= 1;
		write_copy(store, domain, place);
		GM_FAULT_POINT("launch: copy written");
	}
	record->launch_gib = place->gib;
	record->launch_copy = place->copy;
}

int gm_store_load_launch(struct gm_store *store, uint32_t record,
			 const struct gm_store_domain *domain, struct gm_store_launch *ret_launch)
{
	struct gm_store_launch_place *place = &store->launches[record - 1];
	const struct gm_store_launch_place found = { .gib = domain->launch_gib,
						     .copy = domain->launch_copy & 1 };

	if (found.gib == 0)
		return 1;
	if (found.gib > store->limits.map_gibs ||
	    !gm_ranges_claim(&store->ranges, 0, found.gib - 1))
		return -EBADMSG;
	*place = found;
	memcpy(ret_launch, store->at[GM_STORE_MAPS] + copy_at(store, place, place->copy),
	       sizeof(*ret_launch));
	if (gm_store_record_check(ret_launch, sizeof(*ret_launch)) != ret_launch->check ||
	    ret_launch->domain_id != domain->id)
		return -EBADMSG;
	return 0;
}
