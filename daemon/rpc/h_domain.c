/* SPDX-License-Identifier: Apache-2.0 */
#include <assert.h>
#include <errno.h>
#include <string.h>

#include "call.h"
#include "exec_launch.h"
#include "exec_memlock.h"
#include "gm_check.h"
#include "info.h"
#include "slot.h"

/* Regions listed in one DOMAIN_ATTACH answer; LIST tells of the others. */
#define ATTACH_REGIONS_MAX 4096

/* Each device at most once, and there. */
static int check_devices(struct gm_call *call, size_t n, const Gmem__Device *devices)
{
	for (size_t i = 0; i < n; i++) {
		if (devices[i] != GMEM__DEVICE__DEVICE_KVM)
			return gm_refuse_text(&call->refusal, GM_INVALID, GM_RULE_FLAGS, "request",
					      "no device has the number %d", (int)devices[i]);
		if (i > 0)
			return gm_refuse_text(&call->refusal, GM_INVALID, GM_RULE_FLAGS, "request",
					      "the device kvm is asked for twice");
		if (call->exec->kvm_fd < 0)
			return gm_refuse_text(&call->refusal, GM_UNSUPPORTED, GM_RULE_DEVICE,
					      "host", "no device kvm: %s", call->exec->kvm_reason);
	}
	return 0;
}

static int add_devices(struct gm_call *call, size_t n, size_t *n_names, ProtobufCBinaryData **names)
{
	if (n == 0)
		return 0;
	return gm_call_add_fd(call, call->exec->kvm_fd, "kvm", n_names, names);
}

/* Known to the daemon, allowed by the policy, usable on the host: in this order. */
static int check_kind(struct gm_call *call, const char *kind)
{
	const struct gm_tenant *tenant = call->session->tenant;
	const struct gm_exec_backend *slot = gm_exec_find(call->exec, kind);

	if (slot == NULL)
		return gm_refuse_text(&call->refusal, GM_UNSUPPORTED, GM_RULE_KIND, "daemon",
				      "no kind of memory is called \"%s\"", kind);
	/* Who may not have it learns nothing about the host from the answer: the books refuse. */
	if (!slot->probe.usable && gm_policy_allows_kind(&tenant->policy, kind))
		return gm_refuse_text(&call->refusal, GM_UNSUPPORTED, GM_RULE_PROBE, "host",
				      "%s: %s", kind, slot->probe.reason);
	return 0;
}

struct domain_names {
	char name[GM_NAME_SIZE];
	char kind[GM_KIND_NAME_MAX + 1];
};

static int read_names(struct gm_call *call, const Gmem__DomainCreateRequest *request,
		      struct domain_names *names)
{
	if (request->has_name && !gm_name_copy(&request->name, names->name, GM_NAME_MAX))
		return gm_refuse(&call->refusal, GM_INVALID, GM_RULE_NAME, "domain");
	if (!request->has_kind || !gm_name_copy(&request->kind, names->kind, GM_KIND_NAME_MAX))
		return gm_refuse(&call->refusal, GM_UNSUPPORTED, GM_RULE_KIND, "daemon");
	return check_kind(call, names->kind);
}

static int read_lifetime(struct gm_call *call, Gmem__Lifetime wanted, enum gm_lifetime *ret)
{
	/* protobuf-c hands over any number in an enum. */
	switch ((int)wanted) {
	case GMEM__LIFETIME__LIFETIME_BOUND:
		*ret = GM_LIFETIME_BOUND;
		return 0;
	case GMEM__LIFETIME__LIFETIME_PERSISTENT:
		*ret = GM_LIFETIME_PERSISTENT;
		return 0;
	default:
		return gm_refuse_text(&call->refusal, GM_INVALID, GM_RULE_FLAGS, "request",
				      "no lifetime has the number %d", (int)wanted);
	}
}

/* What the host has is looked at even for who may have none: the books refuse that first. */
static void ask_for_slot(struct gm_call *call, unsigned pool, struct gm_domain_spec *spec)
{
	spec->has_slot = true;
	spec->slot = pool;
	spec->slot_use = gm_exec_slot_use(call->exec, pool);
}

/* Of the pool that the kind needs one of, asked for or not. */
static int read_slot(struct gm_call *call, const Gmem__DomainCreateRequest *request,
		     struct gm_domain_spec *spec)
{
	const struct gm_launch_rules *rules = gm_exec_launch_rules(call->exec, spec->kind);
	char name[GM_NAME_SIZE];
	int pool;

	if (rules != NULL)
		ask_for_slot(call, rules->slot, spec);
	if (!request->has_slot)
		return 0;
	if (!gm_name_copy(&request->slot, name, GM_NAME_MAX))
		return gm_refuse(&call->refusal, GM_INVALID, GM_RULE_NAME, "slot");
	pool = gm_slot_find(name);
	if (pool < 0)
		return gm_refuse_text(&call->refusal, GM_UNSUPPORTED, GM_RULE_SLOTS, "daemon",
				      "no pool of hardware slots is called \"%s\"", name);
	if (rules != NULL && (unsigned)pool != rules->slot)
		return gm_refuse_text(&call->refusal, GM_INVALID, GM_RULE_SLOTS, "request",
				      "guests of kind %s take slots of the pool \"%s\"", spec->kind,
				      gm_slot_pools[rules->slot].name);
	ask_for_slot(call, (unsigned)pool, spec);
	return 0;
}

static int create(struct gm_call *call, const struct gm_domain_spec *spec,
		  struct gm_domain **ret_domain)
{
	struct gm_domain_id id;
	struct gm_token token;
	int r;

	r = gm_service_draw_id(call->service, &id.v);
	if (r == 0)
		r = call->service->env.random(token.bytes, sizeof(token.bytes));
	if (r == 0)
		r = gm_book_create_domain(call->book, call->session, spec, id, &token,
					  gm_service_now(call->service), ret_domain,
					  &call->refusal);
	explicit_bzero(&token, sizeof(token));
	return r;
}

int gm_handle_domain_create(struct gm_call *call)
{
	const Gmem__DomainCreateRequest *request = call->request;
	Gmem__DomainCreateReply *reply = call->answer;
	struct domain_names names = { 0 };
	struct gm_domain_spec spec = { .name = names.name, .kind = names.kind };
	struct gm_domain *domain;
	int r;

	r = read_lifetime(call, request->lifetime, &spec.lifetime);
	if (r == 0)
		r = check_devices(call, request->n_devices, request->devices);
	if (r == 0)
		r = read_names(call, request, &names);
	if (r == 0)
		r = read_slot(call, request, &spec);
	if (r == 0)
		r = add_devices(call, request->n_devices, &reply->n_fd_names, &reply->fd_names);
	if (r == 0)
		r = gm_service_room_for_domain(call->service, &call->refusal);
	if (r == 0)
		spec.traits = gm_exec_traits(gm_exec_find(call->exec, names.kind));
	if (r == 0)
		r = gm_link_hold(call->link);
	if (r == 0)
		r = create(call, &spec, &domain);
	if (r != 0)
		return r;
	reply->has_domain = 1;
	reply->domain = domain->id.v;
	reply->has_token = 1;
	reply->token = (ProtobufCBinaryData){ .len = GM_TOKEN_SIZE, .data = domain->token.bytes };
	gm_link_tell_domain(call->service, call->link, GM_NEWS_DOMAIN, domain, "a domain was made");
	return 0;
}

static int read_token(struct gm_call *call, const ProtobufCBinaryData *bytes,
		      const struct gm_token **ret_token)
{
	if (bytes->len != GM_TOKEN_SIZE)
		return gm_refuse_numbers(&call->refusal, GM_INVALID, GM_RULE_TOKEN, "request",
					 GM_TOKEN_SIZE, 0, bytes->len);
	/* A struct of bytes: any address will do, and the arena is wiped with it. */
	*ret_token = (const struct gm_token *)bytes->data;
	return 0;
}

static int list_regions(struct gm_call *call, const struct gm_domain *domain,
			Gmem__DomainAttachReply *reply)
{
	size_t n = gm_min_u64(domain->n_regions, ATTACH_REGIONS_MAX);

	if (n == 0)
		return 0;
	reply->regions = gm_call_alloc(call, n * sizeof(*reply->regions));
	if (reply->regions == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++)
		reply->regions[i] = domain->regions[i]->id.v;
	reply->n_regions = n;
	return 0;
}

/* All that can fail for want of memory comes before the domain changes hands. */
static int attach(struct gm_call *call, struct gm_domain *domain)
{
	const Gmem__DomainAttachRequest *request = call->request;
	Gmem__DomainAttachReply *reply = call->answer;
	struct gm_session *loser;
	int r;

	reply->info = gm_call_alloc(call, sizeof(*reply->info));
	if (reply->info == NULL)
		return -ENOMEM;
	r = list_regions(call, domain, reply);
	if (r == 0)
		r = add_devices(call, request->n_devices, &reply->n_fd_names, &reply->fd_names);
	if (r == 0)
		r = gm_link_hold(call->link);
	if (r == 0)
		r = gm_book_may_attach(call->session, domain, request->take_over, &call->refusal);
	/* The limit of the process that has it now is lowered while the books say whose it is. */
	if (r == 0 && domain->session != call->session)
		gm_exec_end_memlock(call->exec, domain);
	if (r == 0)
		r = gm_book_attach(call->session, domain, request->take_over, &loser,
				   &call->refusal);
	if (r != 0)
		return r;
	gm_exec_leave_owner(domain);
	if (loser != NULL) {
		gm_call_takes_from(call, loser, domain->id, GMEM__FAREWELL__FAREWELL_TAKEN_OVER);
	}
	gm_link_tell_domain(call->service, call->link, GM_NEWS_ATTACH, domain,
			    loser != NULL ? "a domain was taken over" : "a domain was attached");
	gm_info_domain(call, domain, reply->info);
	return 0;
}

int gm_handle_domain_attach(struct gm_call *call)
{
	const Gmem__DomainAttachRequest *request = call->request;
	const struct gm_token *token = NULL;
	struct gm_domain *domain;
	int r;

	/* Nothing of a daemon that stops is worth coming back to. */
	if (call->book->draining)
		return gm_refuse(&call->refusal, GM_SHUTTING_DOWN, GM_RULE_DRAINING, "host");
	r = check_devices(call, request->n_devices, request->devices);
	if (r == 0)
		r = read_token(call, &request->token, &token);
	if (r == 0)
		r = gm_book_find_with_token(call->book, call->session,
					    (struct gm_domain_id){ request->domain }, token,
					    &domain, &call->refusal);
	if (r != 0)
		return r;
	return attach(call, domain);
}

int gm_handle_domain_get(struct gm_call *call)
{
	const Gmem__DomainGetRequest *request = call->request;
	Gmem__DomainGetReply *reply = call->answer;
	struct gm_domain *domain;
	int r;

	r = gm_book_find_domain(call->book, call->session, (struct gm_domain_id){ request->domain },
				&domain, &call->refusal);
	if (r != 0)
		return r;
	reply->info = gm_call_alloc(call, sizeof(*reply->info));
	if (reply->info == NULL)
		return -ENOMEM;
	gm_info_domain(call, domain, reply->info);
	r = gm_info_observed(call, domain, reply->info);
	if (r == 0)
		r = gm_info_launch(call, domain, reply->info);
	if (r != 0)
		return r;
	/* An owner's pid would not tell: a process may have several sessions. */
	reply->has_attached_here = 1;
	reply->attached_here = domain->session == call->session;
	return 0;
}

static int find_to_destroy(struct gm_call *call, const Gmem__DomainDestroyRequest *request,
			   struct gm_domain **ret_domain)
{
	struct gm_domain_id id = { request->domain };
	const struct gm_token *token = NULL;
	int r;

	if (!request->has_token)
		return gm_book_find_attached(call->book, call->session, id, ret_domain,
					     &call->refusal);
	r = read_token(call, &request->token, &token);
	if (r != 0)
		return r;
	return gm_book_find_with_token(call->book, call->session, id, token, ret_domain,
				       &call->refusal);
}

int gm_handle_domain_destroy(struct gm_call *call)
{
	struct gm_domain_id id;
	struct gm_session *owner;
	struct gm_domain *domain;
	int r;

	r = find_to_destroy(call, call->request, &domain);
	if (r == 0)
		r = gm_book_may_destroy_domain(domain, &call->refusal);
	if (r != 0)
		return r;
	id = domain->id;
	owner = domain->session;
	gm_link_tell_domain(call->service, call->link, GM_NEWS_END, domain,
			    "a domain was destroyed");
	(void)gm_exec_end_domain(call->exec, domain);
	/* Somebody with the token has taken it, if only to end it. */
	if (owner != NULL && owner != call->session)
		gm_call_takes_from(call, owner, id, GMEM__FAREWELL__FAREWELL_TAKEN_OVER);
	return 0;
}
