/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Standing orders: conversions that are made first and reported then.
 *
 * Invariants:
 *   - Whatever else is sent, all conversions made before are reported before it.
 *   - A page of a report that has no answer yet is not converted again: until then the daemon may
 *     free the half that it has left. Of what is not yet sent the daemon knows nothing: there a
 *     page may go to and fro.
 *   - Conversions that wait to be sent have their place among the reports that may be unanswered.
 *
 * A conversion that comes alone is reported at once. Those in quick succession go together, which
 * saves both sides most of the work: sixteen of them, or what there is after ten milliseconds, when
 * the program looks after the connection, or before its next request.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "gm_cleanup.h"
#include "gm_verdict.h"
#include "remote.h"
#include "vm.h"

#define GM_TOGETHER 16
#define GM_ALONE_US 1000
#define GM_LATEST_US 10000

/* ---- reports */

static int send_report(struct gmem_client *client, struct gmem_region *region)
{
	Gmem__ConvertedRequest request = GMEM__CONVERTED_REQUEST__INIT;
	struct gm_standing *standing = &region->standing;
	size_t n = 2 * standing->n_unsent;
	_gm_free_ uint64_t *copy = malloc(n * sizeof(*copy));
	struct gm_pending *pending;
	int r;

	if (!copy)
		return gm_fail_errno(client, ENOMEM, "a report");
	memcpy(copy, standing->unsent, n * sizeof(*copy));
	request.has_region = request.has_order = request.has_number = true;
	request.region = region->id;
	request.order = standing->id;
	request.number = standing->last + 1;
	request.conversions = standing->unsent;
	request.n_conversions = n;
	r = gm_remote_post(client, GM_PENDING_NOBODY, GM_MSG_CONVERTED, &request.base, &pending);
	if (r < 0)
		return r;
	pending->subject = region->id;
	pending->conversions = gm_take_ptr(&copy);
	pending->n_conversions = standing->n_unsent;
	pending->from = UINT64_MAX;
	for (size_t i = 0; i < n; i += 2) {
		uint64_t from = gm_align_down(standing->unsent[i], GM_PAGE_4K);

		pending->from = gm_min_u64(pending->from, from);
		pending->to = gm_max_u64(pending->to, from + standing->unsent[i + 1]);
	}
	standing->last++;
	standing->n_unsent = 0;
	return 0;
}

int gm_remote_report_all(struct gmem_client *client)
{
	struct gm_remote *remote = client->remote;
	int r = 0;

	if (!remote->has_unsent)
		return 0;
	for (struct gmem_domain *domain = client->domains; domain && r == 0; domain = domain->next)
		for (struct gmem_region *region = domain->regions; region && r == 0;
		     region = region->next)
			if (region->standing.n_unsent)
				r = send_report(client, region);
	remote->has_unsent = r < 0;
	remote->reported_us = gm_now_us();
	return r;
}

void gm_remote_report_due(struct gmem_client *client)
{
	struct gm_remote *remote = client->remote;

	if (!remote->report_at_us || gm_now_us() < remote->report_at_us)
		return;
	remote->report_at_us = 0;
	gm_link_remind(&remote->link, 0);
	/* Where there is no room for it, it goes with the next. */
	(void)gm_remote_report_all(client);
}

static int report_soon(struct gmem_client *client, const struct gmem_region *region)
{
	struct gm_remote *remote = client->remote;
	uint64_t now = gm_now_us();

	remote->has_unsent = true;
	if (region->standing.n_unsent >= GM_TOGETHER || now - remote->reported_us >= GM_ALONE_US)
		return gm_remote_report_all(client);
	if (!remote->report_at_us && remote->link.state == GM_LINK_UP) {
		remote->report_at_us = now + GM_LATEST_US;
		gm_link_remind(&remote->link, remote->report_at_us);
	}
	return 0;
}

/* ---- what the daemon says */

static void take_order(struct gm_standing *standing, const Gmem__Order *order)
{
	if (standing->id != order->order || standing->over)
		*standing = (struct gm_standing){ .id = order->order };
	standing->limit = order->room;
	standing->granularity = gm_max_u64(order->granularity, GM_PAGE_4K);
	standing->reports_max = order->reports_max;
	standing->conversions_max = gm_min_u64(order->conversions_max, GM_CONVERSIONS_MAX);
}

static void end_rooms(const struct gmem_region *region)
{
	for (struct gmem_region *other = region->domain->regions; other; other = other->next)
		other->standing.limit = other->standing.used;
}

void gm_standing_take(struct gmem_client *client, const struct gm_pending *pending,
		      const ProtobufCMessage *message)
{
	struct gmem_region *region = gm_client_find_region(client, pending->subject);

	if (!region)
		return;
	if (pending->type == GM_MSG_STEP_DONE && message) {
		const Gmem__Order *order = ((const Gmem__StepDoneReply *)message)->order;

		if (order)
			take_order(&region->standing, order);
	} else if (pending->type == GM_MSG_CONVERTED && message) {
		region->standing.limit = ((const Gmem__ConvertedReply *)message)->room;
	} else if (pending->type == GM_MSG_CONVERTED) {
		region->standing.over = true;
	} else if (pending->type == GM_MSG_CONVERT) {
		bool refused = !message &&
			       strcmp(pending->failure.rule, gm_rule_name(GM_RULE_SHARED_MAX)) == 0;

		if (refused || (message && ((const Gmem__ConvertReply *)message)->rooms_end))
			end_rooms(region);
	}
}

/* ---- does it fit? */

static bool range_fits(const struct gmem_region *region, const struct gmem_range *range)
{
	uint64_t granularity = region->standing.granularity;
	uint64_t end;

	return range->length && !gm_add_overflows(range->offset, range->length, &end) &&
	       end <= region->size &&
	       gm_is_aligned(range->offset | range->length, region->page_size) &&
	       gm_is_aligned(region->gpa + range->offset, granularity) &&
	       (end == region->size || gm_is_aligned(region->gpa + end, granularity));
}

/* Something that the daemon is told or does before it may hear of a conversion without a step. */
static bool is_held_up(const struct gm_remote *remote, uint64_t region)
{
	for (const struct gm_pending *pending = remote->pending; pending; pending = pending->next) {
		switch (pending->type) {
		case GM_MSG_CONVERT:
			return true;
		case GM_MSG_STEP_DONE:
		case GM_MSG_ALLOCATE:
		case GM_MSG_DISCARD:
			if (pending->subject == region)
				return true;
			break;
		default:
			break;
		}
	}
	return false;
}

/* Ranges are in ascending order. */
static bool order_fits(const struct gmem_region *region, const struct gmem_range *ranges,
		       size_t n_ranges, bool to_private)
{
	const struct gm_standing *standing = &region->standing;
	uint64_t room = standing->limit > standing->used ? standing->limit - standing->used : 0;

	if (!standing->id || standing->over || !standing->reports_max ||
	    !standing->conversions_max || region->domain->gone ||
	    region->domain->client->remote->link.state == GM_LINK_OVER)
		return false;
	for (size_t i = 0; i < n_ranges; i++) {
		if (!range_fits(region, &ranges[i]) ||
		    (i && ranges[i].offset < ranges[i - 1].offset + ranges[i - 1].length) ||
		    (!to_private && ranges[i].length > room))
			return false;
		room -= to_private ? 0 : ranges[i].length;
	}
	return !is_held_up(region->domain->client->remote, region->id);
}

/* ---- room for it among the reports */

static bool overlaps(const struct gm_pending *report, const struct gmem_range *ranges,
		     size_t n_ranges)
{
	uint64_t first = ranges[0].offset;
	uint64_t last = ranges[n_ranges - 1].offset + ranges[n_ranges - 1].length;

	if (report->from >= last || report->to <= first)
		return false;
	for (size_t i = 0; i < report->n_conversions; i++) {
		uint64_t from = gm_align_down(report->conversions[2 * i], GM_PAGE_4K);
		uint64_t to = from + report->conversions[2 * i + 1];

		if (from >= last || to <= first)
			continue;
		for (size_t k = 0; k < n_ranges; k++)
			if (from < ranges[k].offset + ranges[k].length && to > ranges[k].offset)
				return true;
	}
	return false;
}

/* Must an answer come before these may be converted? */
static bool must_wait(const struct gmem_region *region, const struct gmem_range *ranges,
		      size_t n_ranges)
{
	const struct gm_pending *pending = region->domain->client->remote->pending;
	uint32_t n_unanswered = 0;

	for (; pending; pending = pending->next) {
		if (pending->type != GM_MSG_CONVERTED || pending->subject != region->id)
			continue;
		if (overlaps(pending, ranges, n_ranges))
			return true;
		n_unanswered++;
	}
	return !region->standing.n_unsent && n_unanswered >= region->standing.reports_max;
}

/*
 * One packet, which is there already more often than not. What is in no report yet stays there:
 * sent now, it would be waited for next.
 */
static int wait_for_answer(struct gmem_client *client, uint64_t deadline)
{
	client->remote->holds_back = false;
	if (gm_remote_turn(client) != -GMEM_AGAIN)
		return 0;
	return gm_remote_wait(client, deadline);
}

/* ---- conversions */

static void note(struct gm_standing *standing, const struct gmem_range *range, bool to_private)
{
	uint64_t *pair = &standing->unsent[2 * standing->n_unsent++];

	pair[0] = range->offset +
		  (to_private ? GMEM__PAGE_STATE__PAGE_PRIVATE : GMEM__PAGE_STATE__PAGE_SHARED);
	pair[1] = range->length;
	if (!to_private)
		standing->used += range->length;
}

/* As many as one report takes. */
static int convert_some(struct gmem_region *region, const struct gmem_range *ranges, size_t n,
			bool to_private)
{
	struct gmem_client *client = region->domain->client;
	int given_up = to_private ? region->fd : region->private_fd;
	int r = 0;

	for (size_t i = 0; i < n && r == 0; i++) {
		r = gm_vm_set_private(region->domain->vm_fd, region->gpa + ranges[i].offset,
				      ranges[i].length, to_private);
		if (r < 0)
			break;
		gm_vm_punch(given_up, ranges[i].offset, ranges[i].length);
		note(&region->standing, &ranges[i], to_private);
	}
	if (r < 0)
		(void)report_soon(client, region);
	return r < 0 ? gm_fail_errno(client, r, "KVM_SET_MEMORY_ATTRIBUTES")
		     : report_soon(client, region);
}

int gm_standing_convert(struct gmem_client *client, uint64_t id, const struct gmem_range *ranges,
			size_t n_ranges, bool to_private, size_t *ret_done)
{
	uint64_t deadline = gm_deadline(client);
	size_t done = 0;
	int r = 0;

	while (done < n_ranges && r == 0) {
		/* A callback during the wait may have dropped it. */
		struct gmem_region *region = gm_client_find_region(client, id);
		size_t n = n_ranges - done;

		/* To wake the daemon up costs more than to send. */
		client->remote->holds_back = true;
		if (!region || !order_fits(region, ranges + done, n, to_private))
			break;
		n = gm_min_u64(n, region->standing.conversions_max - region->standing.n_unsent);
		if (n == 0) {
			r = gm_remote_report_all(client);
		} else if (must_wait(region, ranges + done, n)) {
			r = wait_for_answer(client, deadline);
		} else {
			r = region->standing.n_unsent ? 0 : gm_remote_check_room(client);
			if (r == 0)
				r = convert_some(region, ranges + done, n, to_private);
			done += n;
		}
	}
	client->remote->holds_back = false;
	(void)gm_link_flush(client->remote);
	*ret_done = done;
	return r;
}
