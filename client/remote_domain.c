/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gm_cleanup.h"
#include "gm_verdict.h"
#include "remote.h"

#define GM_DEVICES_KNOWN 1

static size_t wire_devices(uint32_t devices, Gmem__Device list[GM_DEVICES_KNOWN])
{
	size_t n = 0;

	if (devices & GMEM_DEVICE_KVM)
		list[n++] = GMEM__DEVICE__DEVICE_KVM;
	return n;
}

static bool name_is(const ProtobufCBinaryData *name, const char *wanted)
{
	return name->len == strlen(wanted) && memcmp(name->data, wanted, name->len) == 0;
}

/* Takes the devices that came along. NULL, or what is wrong. Devices not asked for are closed. */
static const char *take_devices(struct gmem_domain *domain, uint32_t devices,
				const ProtobufCBinaryData *names, size_t n_names,
				struct gm_fdset *fds)
{
	if (n_names != fds->n_fds)
		return "not one name for each file descriptor";
	for (size_t i = 0; i < n_names; i++)
		if (devices & GMEM_DEVICE_KVM && domain->kvm_fd < 0 && name_is(&names[i], "kvm"))
			domain->kvm_fd = gm_fdset_steal(fds, i);
	if (devices & GMEM_DEVICE_KVM && domain->kvm_fd < 0)
		return "a device that was asked for is missing";
	return NULL;
}

/*
 * Who had to ask twice may get the answer of an earlier daemon, as it was recorded: the domain may
 * have been evicted since, or taken by another process, and whoever would tell of that knew no
 * connection to tell it on. A daemon that cannot say costs no domain.
 */
static int look_again(struct gmem_client *client, const struct gm_reply *first, uint64_t id)
{
	Gmem__DomainGetRequest request = GMEM__DOMAIN_GET_REQUEST__INIT;
	_gm_reply_ struct gm_reply reply = { 0 };
	int r;

	if (!first->repeated)
		return 0;
	request.has_domain = true;
	request.domain = id;
	r = gm_remote_call(client, GM_MSG_DOMAIN_GET, &request.base, &reply);
	if (r == -GMEM_NO_SUCH_OBJECT)
		return gm_fail(client, GMEM_NO_SUCH_OBJECT, 0,
			       "The domain has ended while the daemon was away.");
	if (r < 0) {
		gm_client_clear(client);
		return 0;
	}
	if (!((const Gmem__DomainGetReply *)reply.message)->attached_here)
		return gm_fail(client, GMEM_BUSY, GM_RULE_ATTACHED,
			       "Another process took the domain while the daemon was away.");
	return 0;
}

int gm_remote_domain_create(struct gmem_client *client, const struct gmem_domain_spec *spec,
			    struct gmem_domain *domain)
{
	Gmem__DomainCreateRequest request = GMEM__DOMAIN_CREATE_REQUEST__INIT;
	_gm_reply_ struct gm_reply reply = { 0 };
	Gmem__Device devices[GM_DEVICES_KNOWN];
	const Gmem__DomainCreateReply *answer;
	const char *fault;
	int r;

	request.has_kind = request.has_lifetime = true;
	request.kind = gm_wire_text(spec->kind);
	request.lifetime = spec->flags & GMEM_DOMAIN_PERSISTENT
				   ? GMEM__LIFETIME__LIFETIME_PERSISTENT
				   : GMEM__LIFETIME__LIFETIME_BOUND;
	if (spec->name) {
		request.has_name = true;
		request.name = gm_wire_text(spec->name);
	}
	if (spec->slot) {
		request.has_slot = true;
		request.slot = gm_wire_text(spec->slot);
	}
	request.devices = devices;
	request.n_devices = wire_devices(spec->devices, devices);
	r = gm_remote_call(client, GM_MSG_DOMAIN_CREATE, &request.base, &reply);
	if (r < 0)
		return r;
	answer = (const Gmem__DomainCreateReply *)reply.message;
	if (!answer->domain || answer->token.len != GMEM_TOKEN_SIZE)
		return gm_remote_nonsense(client, "a domain without id or token");
	fault = take_devices(domain, spec->devices, answer->fd_names, answer->n_fd_names,
			     &reply.fds);
	if (fault)
		return gm_remote_nonsense(client, fault);
	domain->id = answer->domain;
	(void)snprintf(domain->kind, sizeof(domain->kind), "%s", spec->kind);
	domain->persistent = spec->flags & GMEM_DOMAIN_PERSISTENT;
	memcpy(domain->token.bytes, answer->token.data, GMEM_TOKEN_SIZE);
	return look_again(client, &reply, domain->id);
}

struct gm_id_list {
	uint64_t *ids;
	size_t n_ids;
	size_t room;
};

static int collect_id(void *arg, const struct gmem_region_info *info)
{
	struct gm_id_list *list = arg;

	if (list->n_ids < list->room)
		list->ids[list->n_ids++] = info->id;
	return 0;
}

/* The regions of @domain; an answer that has not room for all ids is followed by a LIST. */
static int fetch_regions(struct gmem_client *client, struct gmem_domain *domain,
			 const Gmem__DomainAttachReply *answer)
{
	uint64_t deadline = gm_deadline(client);
	struct gm_id_list list = { .room = answer->info->regions };
	_gm_free_ uint64_t *ids = NULL;
	int r;

	if (answer->n_regions >= list.room)
		return gm_remote_regions_fetch(client, domain, answer->regions, answer->n_regions,
					       deadline);
	ids = calloc(list.room, sizeof(*ids));
	if (!ids)
		return gm_fail_errno(client, ENOMEM, "a list of regions");
	list.ids = ids;
	r = gm_remote_list_regions(client, domain->id, collect_id, &list);
	if (r < 0)
		return r;
	return gm_remote_regions_fetch(client, domain, list.ids, list.n_ids, deadline);
}

static int attach(struct gmem_client *client, uint64_t id, const uint8_t token[GMEM_TOKEN_SIZE],
		  uint32_t flags, uint32_t devices, struct gmem_domain *domain)
{
	Gmem__DomainAttachRequest request = GMEM__DOMAIN_ATTACH_REQUEST__INIT;
	_gm_reply_ struct gm_reply reply = { 0 };
	Gmem__Device list[GM_DEVICES_KNOWN];
	const Gmem__DomainAttachReply *answer;
	const char *fault;
	int r;

	request.has_domain = request.has_token = request.has_take_over = true;
	request.domain = id;
	request.token = gm_wire_bytes(token, GMEM_TOKEN_SIZE);
	request.take_over = (flags & GMEM_ATTACH_TAKE_OVER) != 0;
	request.devices = list;
	request.n_devices = wire_devices(devices, list);
	r = gm_remote_call(client, GM_MSG_DOMAIN_ATTACH, &request.base, &reply);
	if (r < 0)
		return r;
	answer = (const Gmem__DomainAttachReply *)reply.message;
	if (!answer->info || answer->info->domain != id)
		return gm_remote_nonsense(client, "another domain than was asked for");
	fault = take_devices(domain, devices, answer->fd_names, answer->n_fd_names, &reply.fds);
	if (fault)
		return gm_remote_nonsense(client, fault);
	domain->id = id;
	domain->persistent = answer->info->lifetime == GMEM__LIFETIME__LIFETIME_PERSISTENT;
	memcpy(domain->token.bytes, token, GMEM_TOKEN_SIZE);
	r = look_again(client, &reply, id);
	return r == 0 ? fetch_regions(client, domain, answer) : r;
}

/* Empties a handle that was half filled. */
static void start_again(struct gmem_domain *domain)
{
	struct gmem_region *region;

	while ((region = domain->regions)) {
		domain->regions = region->next;
		gm_region_free(region);
	}
	gm_fd_close(gm_take_fd(&domain->kvm_fd));
}

int gm_remote_domain_attach(struct gmem_client *client, uint64_t id,
			    const uint8_t token[GMEM_TOKEN_SIZE], uint32_t flags, uint32_t devices,
			    struct gmem_domain *domain)
{
	uint32_t sessions;
	int r;

	/* The domain is no handle's yet: a new session does not attach it by itself. */
	do {
		start_again(domain);
		sessions = client->remote->link.sessions;
		r = attach(client, id, token, flags, devices, domain);
	} while (r < 0 && sessions != client->remote->link.sessions);
	return r;
}

static int destroy(struct gmem_client *client, uint64_t id, const uint8_t *token)
{
	Gmem__DomainDestroyRequest request = GMEM__DOMAIN_DESTROY_REQUEST__INIT;
	bool had_report;
	int r;

	request.has_domain = true;
	request.domain = id;
	if (token) {
		request.has_token = true;
		request.token = gm_wire_bytes(token, GMEM_TOKEN_SIZE);
	}
	do {
		_gm_reply_ struct gm_reply reply = { 0 };

		had_report = gm_remote_is_reporting(client, 0);
		r = gm_remote_call(client, GM_MSG_DOMAIN_DESTROY, &request.base, &reply);
	} while (gm_remote_was_early(client, 0, had_report, &r));
	return r;
}

int gm_remote_domain_destroy(struct gmem_client *client, uint64_t id)
{
	return destroy(client, id, NULL);
}

int gm_remote_domain_destroy_id(struct gmem_client *client, uint64_t id,
				const uint8_t token[GMEM_TOKEN_SIZE])
{
	return destroy(client, id, token);
}

int gm_remote_domain_set_memlock(struct gmem_client *client, uint64_t id, uint64_t bytes,
				 uint64_t *ret_limit)
{
	Gmem__MemlockRequest request = GMEM__MEMLOCK_REQUEST__INIT;
	_gm_reply_ struct gm_reply reply = { 0 };
	int r;

	request.has_domain = request.has_bytes = true;
	request.domain = id;
	request.bytes = bytes;
	r = gm_remote_call(client, GM_MSG_MEMLOCK, &request.base, &reply);
	if (r < 0)
		return r;
	*ret_limit = ((const Gmem__MemlockReply *)reply.message)->limit;
	return 0;
}
