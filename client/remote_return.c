/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From a connection to a session: the greeting, and then each domain. In the same session it is
 * looked at: a daemon that dies between taking a domain from us and telling us so leaves nobody who
 * would tell. In a new session it is attached again.
 *
 * Nothing here waits: each answer leads to the next question. Between them the program may be
 * called back and may destroy any handle, so how far they are is written in the handles.
 */
#include <string.h>

#include "gm_cleanup.h"
#include "gm_fd.h"
#include "gm_verdict.h"
#include "remote.h"

/* Questions under way at one time: enough to hide the round trip. */
#define GM_RETURN_WINDOW 16

int gm_return_begin(struct gmem_client *client)
{
	Gmem__HelloRequest request = GMEM__HELLO_REQUEST__INIT;
	struct gm_link *link = &client->remote->link;
	struct gm_pending *pending;

	request.has_min_version = request.has_max_version = request.has_client = true;
	request.min_version = request.max_version = GM_PROTOCOL_VERSION;
	request.client = gm_wire_text(link->name);
	if (link->patience_ms >= 0) {
		request.has_session_key = true;
		request.session_key = gm_wire_bytes(link->key, sizeof(link->key));
	}
	link->state = GM_LINK_GREETING;
	return gm_remote_post(client, GM_PENDING_LINK, GM_MSG_HELLO, &request.base, &pending);
}

void gm_return_to_leave(struct gmem_client *client)
{
	struct gm_link *link = &client->remote->link;

	if (!link->known || link->patience_ms < 0 || !gm_link_is_cut(link))
		return;
	gm_link_drop(client->remote);
	/* No room in the backlog, no memory: then the session ends with this process. */
	if (gm_link_connect(link, 0) == 0 && gm_return_begin(client) < 0)
		gm_link_drop(client->remote);
}

/* ---- answers */

static uint32_t bounded(protobuf_c_boolean has, uint32_t value, uint32_t most)
{
	return has && value > 0 && value < most ? value : most;
}

static const char *take_hello(struct gmem_client *client, const Gmem__HelloReply *hello)
{
	struct gm_remote *remote = client->remote;
	char tenant[sizeof(client->tenant)];

	if (hello->version != GM_PROTOCOL_VERSION)
		return "a version that was not offered";
	gm_copy_printable(tenant, sizeof(tenant), hello->tenant.data, hello->tenant.len);
	/* Another's daemon must not be shown our tokens. */
	if (remote->link.known &&
	    (client->admin != !!hello->admin || strcmp(client->tenant, tenant) != 0))
		return "it came back as the daemon of another tenant";
	client->admin = hello->admin;
	memcpy(client->tenant, tenant, sizeof(tenant));
	remote->ranges_max = bounded(hello->has_ranges_max, hello->ranges_max, GM_RANGES_MAX);
	remote->requests_max =
		bounded(hello->has_requests_max, hello->requests_max, GM_REQUESTS_MAX);
	remote->link.resumed = remote->link.known && hello->resumed;
	return NULL;
}

static void lose(struct gmem_domain *domain, enum gmem_loss why)
{
	domain->step = GM_RETURN_NONE;
	if (domain->gone)
		return;
	domain->gone = true;
	domain->loss = why;
}

static void turn_away(struct gm_link *link, const struct gm_failure *why)
{
	link->refused = true;
	link->why = *why;
}

/* What will be no different when it is asked again. A guest is not stopped for anything else. */
static bool is_final(const struct gm_failure *why)
{
	switch (why->status) {
	case GMEM_NO_SUCH_OBJECT:
	case GMEM_INVALID:
	case GMEM_UNSUPPORTED:
	case GMEM_DENIED:
	case GMEM_WRONG_STATE:
	case GMEM_EXISTS:
		return true;
	default:
		return false;
	}
}

static void attach_refused(struct gmem_client *client, struct gmem_domain *domain,
			   const struct gm_failure *why)
{
	bool attached = strcmp(why->rule, gm_rule_name(GM_RULE_ATTACHED)) == 0;

	/* Or it is busy with jobs of our own last session, which may still be ending in it. */
	if (why->status == GMEM_BUSY && attached)
		lose(domain, GMEM_LOSS_TAKEN);
	else if (is_final(why))
		lose(domain, GMEM_LOSS_ENDED);
	else
		turn_away(&client->remote->link, why);
}

/*
 * Somebody has it, or had it and left it. It is not taken back: it may have another's bytes, and
 * other regions. A daemon that cannot answer now is asked again: a guest is not stopped for that.
 */
static void take_look(struct gmem_client *client, struct gmem_domain *domain,
		      const struct gm_pending *pending, const Gmem__DomainGetReply *answer)
{
	domain->step = GM_RETURN_NONE;
	if (!answer && pending->failure.status == GMEM_NO_SUCH_OBJECT)
		lose(domain, GMEM_LOSS_ENDED);
	else if (!answer)
		turn_away(&client->remote->link, &pending->failure);
	else if (!answer->attached_here)
		lose(domain, GMEM_LOSS_TAKEN);
}

static bool is_creating(const struct gm_remote *remote)
{
	for (const struct gm_pending *pending = remote->pending; pending; pending = pending->next)
		if (pending->type == GM_MSG_REGION_CREATE && pending->doubted)
			return true;
	return false;
}

/*
 * A region that no handle knows is one whose grant was lost with the last session. The request
 * for it will be repeated, and would find its addresses taken.
 */
static int destroy_stray(struct gmem_client *client, uint64_t id)
{
	Gmem__RegionDestroyRequest request = GMEM__REGION_DESTROY_REQUEST__INIT;
	struct gm_pending *pending;

	request.has_region = true;
	request.region = id;
	return gm_remote_post(client, GM_PENDING_LINK, GM_MSG_REGION_DESTROY, &request.base,
			      &pending);
}

static const char *take_attach(struct gmem_client *client, struct gmem_domain *domain,
			       const Gmem__DomainAttachReply *answer)
{
	bool has_strays = is_creating(client->remote);

	if (!answer->info || answer->info->domain != domain->id)
		return "another domain than was asked for";
	domain->step = GM_RETURN_ATTACHED;
	for (struct gmem_region *region = domain->regions; region; region = region->next)
		region->unchecked = true;
	for (size_t i = 0; has_strays && i < answer->n_regions; i++)
		if (!gm_client_find_region(client, answer->regions[i]) &&
		    destroy_stray(client, answer->regions[i]) < 0)
			turn_away(&client->remote->link, &client->failure);
	return NULL;
}

/* @message NULL: there is no such region any more. */
static void compare(struct gmem_region *region, const Gmem__RegionGetReply *message,
		    const struct gm_fdset *fds)
{
	struct gm_fd_identity held;
	struct gm_fd_identity given;

	if (!message || fds->n_fds != 1 || gm_fd_identify(region->fd, &held) < 0 ||
	    gm_fd_identify(gm_fdset_peek(fds, 0), &given) < 0 || held.inode != given.inode ||
	    held.device != given.device || held.size != given.size)
		lose(region->domain, GMEM_LOSS_MEMORY);
}

const char *gm_return_take(struct gmem_client *client, const struct gm_pending *pending,
			   const ProtobufCMessage *message, const struct gm_fdset *fds)
{
	struct gmem_domain *domain = gm_client_find_domain(client, pending->subject);
	struct gmem_region *region = gm_client_find_region(client, pending->subject);

	switch (pending->type) {
	case GM_MSG_HELLO:
		if (message)
			return take_hello(client, (const Gmem__HelloReply *)message);
		turn_away(&client->remote->link, &pending->failure);
		return NULL;
	case GM_MSG_DOMAIN_ATTACH:
		if (domain && message)
			return take_attach(client, domain,
					   (const Gmem__DomainAttachReply *)message);
		if (domain)
			attach_refused(client, domain, &pending->failure);
		return NULL;
	case GM_MSG_DOMAIN_GET:
		if (domain)
			take_look(client, domain, pending, (const Gmem__DomainGetReply *)message);
		return NULL;
	case GM_MSG_REGION_GET:
		if (region && !message && !is_final(&pending->failure))
			turn_away(&client->remote->link, &pending->failure);
		else if (region)
			compare(region, (const Gmem__RegionGetReply *)message, fds);
		return NULL;
	default:
		return NULL;
	}
}

/* ---- questions */

static int ask_look(struct gmem_client *client, struct gmem_domain *domain)
{
	Gmem__DomainGetRequest request = GMEM__DOMAIN_GET_REQUEST__INIT;
	struct gm_pending *pending;
	int r;

	request.has_domain = true;
	request.domain = domain->id;
	r = gm_remote_post(client, GM_PENDING_LINK, GM_MSG_DOMAIN_GET, &request.base, &pending);
	if (r < 0)
		return r;
	pending->subject = domain->id;
	domain->step = GM_RETURN_ASKED;
	return 1;
}

static int ask_attach(struct gmem_client *client, struct gmem_domain *domain)
{
	Gmem__DomainAttachRequest request = GMEM__DOMAIN_ATTACH_REQUEST__INIT;
	struct gm_pending *pending;
	int r;

	request.has_domain = request.has_token = true;
	request.domain = domain->id;
	request.token = gm_wire_bytes(domain->token.bytes, GMEM_TOKEN_SIZE);
	r = gm_remote_post(client, GM_PENDING_LINK, GM_MSG_DOMAIN_ATTACH, &request.base, &pending);
	if (r < 0)
		return r;
	pending->subject = domain->id;
	domain->step = GM_RETURN_ASKED;
	return 1;
}

static int ask_region(struct gmem_client *client, struct gmem_region *region)
{
	Gmem__RegionGetRequest request = GMEM__REGION_GET_REQUEST__INIT;
	struct gm_pending *pending;
	int r;

	request.has_region = request.has_with_fd = true;
	request.region = region->id;
	request.with_fd = true;
	r = gm_remote_post(client, GM_PENDING_LINK, GM_MSG_REGION_GET, &request.base, &pending);
	if (r < 0)
		return r;
	pending->subject = region->id;
	region->unchecked = false;
	return 1;
}

/* 1, 0 when all has been asked, or a failure. */
static int ask_next(struct gmem_client *client)
{
	for (struct gmem_domain *domain = client->domains; domain; domain = domain->next) {
		if (domain->step == GM_RETURN_DOUBTED)
			return ask_look(client, domain);
		if (domain->step == GM_RETURN_WANTED)
			return ask_attach(client, domain);
		if (domain->step != GM_RETURN_ATTACHED)
			continue;
		for (struct gmem_region *region = domain->regions; region; region = region->next)
			if (region->unchecked)
				return ask_region(client, region);
	}
	return 0;
}

/* ---- steps */

static void begin_looking(struct gmem_client *client)
{
	for (struct gmem_domain *domain = client->domains; domain; domain = domain->next)
		domain->step = domain->gone ? GM_RETURN_NONE : GM_RETURN_DOUBTED;
}

static void begin_moving(struct gmem_client *client)
{
	struct gm_remote *remote = client->remote;

	remote->link.sessions++;
	for (struct gm_pending *pending = remote->pending; pending; pending = pending->next)
		pending->doubted = pending->repeated;
	for (struct gmem_domain *domain = client->domains; domain; domain = domain->next) {
		domain->step = GM_RETURN_NONE;
		if (!domain->persistent)
			lose(domain, GMEM_LOSS_ENDED);
		else if (!domain->gone)
			domain->step = GM_RETURN_WANTED;
	}
}

/* Those that could not be kept, one by one: each time the program may change the list. */
static void tell_losses(struct gmem_client *client)
{
	struct gmem_domain *domain = client->domains;

	while (domain) {
		enum gmem_loss loss = domain->loss;

		domain->loss = 0;
		if (!loss) {
			domain = domain->next;
			continue;
		}
		gm_client_tell(client, GMEM_EVENT_DOMAIN_LOST, domain, loss);
		domain = client->domains;
	}
}

static void come_up(struct gmem_client *client)
{
	bool is_return = client->remote->link.known;
	bool resumed = client->remote->link.resumed;

	gm_link_up(client->remote);
	if (!is_return)
		return;
	gm_remote_watch_again(client);
	/* There is no timer for it any more. */
	client->remote->report_at_us = 0;
	(void)gm_remote_report_all(client);
	gm_client_tell(client, GMEM_EVENT_RECONNECTED, NULL, resumed);
	tell_losses(client);
}

static void go_on(struct gmem_client *client)
{
	struct gm_remote *remote = client->remote;
	int r = 1;

	while (r > 0 && remote->n_link < GM_RETURN_WINDOW)
		r = ask_next(client);
	if (r < 0)
		(void)gm_link_lost_for(client, client->failure.text);
	else if (remote->n_link == 0)
		come_up(client);
}

void gm_return_step(struct gmem_client *client)
{
	struct gm_link *link = &client->remote->link;

	if (link->refused) {
		struct gm_failure why = link->why;

		link->refused = false;
		(void)gm_link_lost(client, &why);
		return;
	}
	if (link->state == GM_LINK_GREETING) {
		link->state = GM_LINK_RETURNING;
		if (link->resumed)
			begin_looking(client);
		else if (link->known)
			begin_moving(client);
	}
	if (link->state == GM_LINK_RETURNING)
		go_on(client);
}
