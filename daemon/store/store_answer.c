/* SPDX-License-Identifier: Apache-2.0 */
/* The last answers of every session, in a ring. */
#include <string.h>

#include "store_private.h"

#define RING_SIZE (GM_STORE_ANSWERS * sizeof(struct gm_store_answer_slot))

static uint64_t slot_at(const struct gm_store *store, uint32_t record, uint64_t sequence)
{
	return store->layout.answers + (uint64_t)(record - 1) * RING_SIZE +
	       sequence % GM_STORE_ANSWERS * sizeof(struct gm_store_answer_slot);
}

static const struct gm_store_answer_slot *slot(const struct gm_store *store, uint32_t record,
					       uint64_t sequence)
{
	return (const void *)(store->at[GM_STORE_STATE] + slot_at(store, record, sequence));
}

void gm_store_put_answer(struct gm_store *store, const struct gm_store_answer *answer)
{
	uint32_t record = answer->session->mark.record;
	struct gm_store_answer_slot slot_now = {
		.session_id = answer->session->id.v,
		.sequence = store->n_answers[record - 1]++,
		.serial = answer->serial,
		.type = answer->type,
		.flags = answer->flags,
		.length = answer->length,
	};

	memcpy(slot_now.body, answer->body, answer->length);
	slot_now.check = gm_store_record_check(&slot_now, sizeof(slot_now));
	gm_store_log_put(store, GM_STORE_STATE, slot_at(store, record, slot_now.sequence),
			 &slot_now, sizeof(slot_now));
	explicit_bzero(&slot_now, sizeof(slot_now));
}

static bool is_sound(const struct gm_store_answer_slot *at)
{
	return at->check == gm_store_record_check(at, sizeof(*at)) &&
	       at->length <= GM_STORE_BODY_MAX;
}

static bool is_empty(const struct gm_store_answer_slot *at)
{
	return at->check == 0 && at->session_id == 0;
}

bool gm_store_find_answer(const struct gm_store *store, const struct gm_session *session,
			  uint32_t serial, struct gm_store_answer *ret_answer)
{
	const struct gm_store_answer_slot *found = NULL;
	uint32_t record = session->mark.record;
	uint64_t n;

	if (record == 0)
		return false;
	n = gm_min_u64(store->n_answers[record - 1], GM_STORE_ANSWERS);
	for (uint64_t i = 0; i < n; i++) {
		const struct gm_store_answer_slot *at = slot(store, record, i);

		/* A client may use a serial again once it is answered: the last one counts. */
		if (at->serial == serial && at->session_id == session->id.v && is_sound(at) &&
		    (!found || at->sequence > found->sequence))
			found = at;
	}
	if (!found)
		return false;
	*ret_answer = (struct gm_store_answer){ .serial = serial,
						.type = found->type,
						.flags = found->flags,
						.length = found->length };
	memcpy(ret_answer->body, found->body, found->length);
	return true;
}

unsigned gm_store_load_answers(struct gm_store *store, uint32_t record, uint64_t session_id)
{
	uint64_t n_answers = 0;
	unsigned n_damaged = 0;

	/* They were written from the first slot on: the first that is not its own ends the ring. */
	for (uint64_t i = 0; i < GM_STORE_ANSWERS; i++) {
		const struct gm_store_answer_slot *at = slot(store, record, i);

		if (is_empty(at))
			break;
		if (!is_sound(at) || at->sequence % GM_STORE_ANSWERS != i ||
		    at->sequence == UINT64_MAX) {
			n_damaged++;
			n_answers = gm_max_u64(n_answers, i + 1);
			continue;
		}
		if (at->session_id != session_id)
			break;
		n_answers = gm_max_u64(n_answers, at->sequence + 1);
	}
	store->n_answers[record - 1] = n_answers;
	return n_damaged;
}

void gm_store_release_answers(struct gm_store *store, uint32_t record)
{
	if (store->release)
		store->release(store->release_arg, GM_STORE_STATE, slot_at(store, record, 0),
			       RING_SIZE);
}
