/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "client.h"
#include "gm_check.h"
#include "gm_cleanup.h"
#include "gm_verdict.h"
#include "gm_version.h"

static void free_domain_slot(struct gmem_domain **slot)
{
	gm_domain_free(*slot);
}

static int check_bits(struct gmem_client *client, const char *what, uint32_t bits, uint32_t known)
{
	if (!(bits & ~known))
		return 0;
	return gm_fail(client, GMEM_INVALID, GM_RULE_FLAGS,
		       "%s has bits that this libgmem does not know (flags, known %#x, asked %#x).",
		       what, known, bits);
}

/* Longer than the protocol takes, it would be a violation and cost the connection. */
static int check_kind(struct gmem_client *client, const char *kind)
{
	if (gm_name_is_valid(kind, strlen(kind), GM_NAME_MAX))
		return 0;
	return gm_fail(client, GMEM_UNSUPPORTED, GM_RULE_KIND,
		       "No kind of memory has such a name (kind).");
}

int gmem_domain_create(gmem_client *client, const struct gmem_domain_spec *spec,
		       gmem_domain **ret_domain)
{
	static const struct gmem_domain_spec defaults;
	_gm_cleanup_(free_domain_slot) struct gmem_domain *domain = NULL;
	struct gmem_domain_spec want = spec ? *spec : defaults;
	int r;

	gm_client_clear(client);
	if (!want.kind)
		want.kind = "memfd";
	r = check_bits(client, "flags", want.flags, GMEM_DOMAIN_PERSISTENT);
	if (r == 0)
		r = check_bits(client, "devices", want.devices, GMEM_DEVICE_KVM);
	if (r == 0)
		r = gm_check_name(client, want.name);
	if (r == 0)
		r = check_kind(client, want.kind);
	if (r == 0)
		r = gm_check_name(client, want.slot);
	if (r < 0)
		return r;
	domain = gm_domain_new(client);
	if (!domain)
		return -GMEM_SYSTEM;
	r = client->provider->domain_create(client, &want, domain);
	if (r < 0)
		return r;
	gm_client_add_domain(client, domain);
	*ret_domain = gm_take_ptr(&domain);
	return 0;
}

int gmem_domain_attach(gmem_client *client, uint64_t id, const uint8_t token[GMEM_TOKEN_SIZE],
		       uint32_t flags, uint32_t devices, gmem_domain **ret_domain)
{
	_gm_cleanup_(free_domain_slot) struct gmem_domain *domain = NULL;
	int r;

	gm_client_clear(client);
	r = check_bits(client, "flags", flags, GMEM_ATTACH_TAKE_OVER);
	if (r == 0)
		r = check_bits(client, "devices", devices, GMEM_DEVICE_KVM);
	if (r < 0)
		return r;
	if (gm_client_find_domain(client, id))
		return gm_fail(client, GMEM_BUSY, GM_RULE_ATTACHED,
			       "This client has a handle of the domain already (attached).");
	domain = gm_domain_new(client);
	if (!domain)
		return -GMEM_SYSTEM;
	r = client->provider->domain_attach(client, id, token, flags, devices, domain);
	if (r < 0)
		return r;
	gm_client_add_domain(client, domain);
	*ret_domain = gm_take_ptr(&domain);
	return 0;
}

uint64_t gmem_domain_id(const gmem_domain *domain)
{
	return domain->id;
}

void gmem_domain_token(const gmem_domain *domain, uint8_t ret_token[GMEM_TOKEN_SIZE])
{
	memcpy(ret_token, domain->token.bytes, GMEM_TOKEN_SIZE);
}

int gmem_domain_device_fd(const gmem_domain *domain, uint32_t device)
{
	return device == GMEM_DEVICE_KVM ? domain->kvm_fd : -1;
}

int gmem_domain_set_memlock(gmem_domain *domain, uint64_t bytes, uint64_t *ret_limit)
{
	struct gmem_client *client = domain->client;
	uint64_t limit;
	int r;

	gm_client_clear(client);
	r = client->provider->domain_set_memlock(client, domain->id, bytes, &limit);
	if (r == 0 && ret_limit)
		*ret_limit = limit;
	return r;
}

gmem_region *gmem_domain_region(const gmem_domain *domain, size_t index)
{
	struct gmem_region *region = domain->regions;

	while (region && index--)
		region = region->next;
	return region;
}

int gmem_domain_destroy(gmem_domain *domain)
{
	struct gmem_client *client = domain->client;
	uint64_t id = domain->id;

	gm_client_clear(client);
	gm_client_remove_domain(client, domain);
	gm_domain_free(domain);
	return client->provider->domain_destroy(client, id);
}

int gmem_domain_destroy_id(gmem_client *client, uint64_t id, const uint8_t token[GMEM_TOKEN_SIZE])
{
	gm_client_clear(client);
	return client->provider->domain_destroy_id(client, id, token);
}
