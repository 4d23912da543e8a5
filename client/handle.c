/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "builtin.h"
#include "client.h"
#include "gm_check.h"
#include "gm_cleanup.h"
#include "gm_fd.h"
#include "gm_verdict.h"
#include "gm_version.h"

uint64_t gm_now_us(void)
{
	struct timespec now;

	/* Cannot fail: the clock exists and the pointer is good. */
	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

uint64_t gm_now_ms(void)
{
	return gm_now_us() / 1000;
}

struct gmem_domain *gm_domain_new(struct gmem_client *client)
{
	struct gmem_domain *domain = calloc(1, sizeof(*domain));

	if (!domain) {
		(void)gm_fail_errno(client, ENOMEM, "a handle for a domain");
		return NULL;
	}
	domain->client = client;
	domain->kvm_fd = -1;
	domain->vm_fd = -1;
	domain->device_fd = -1;
	domain->vcpu_fd = -1;
	domain->created_ms = gm_now_ms();
	return domain;
}

struct gmem_region *gm_region_new(struct gmem_client *client)
{
	struct gmem_region *region = calloc(1, sizeof(*region));

	if (!region) {
		(void)gm_fail_errno(client, ENOMEM, "a handle for a region");
		return NULL;
	}
	region->fd = -1;
	region->private_fd = -1;
	return region;
}

void gm_region_free(struct gmem_region *region)
{
	if (!region)
		return;
	if (region->address)
		(void)munmap(region->address, region->size);
	gm_fd_close(region->fd);
	gm_fd_close(region->private_fd);
	gm_builtin_memory_free(region->builtin);
	free(region);
}

void gm_source_free(struct gmem_source *source)
{
	if (!source)
		return;
	gm_fd_close(source->fd);
	free(source);
}

void gm_domain_end_launch(struct gmem_domain *domain)
{
	struct gmem_source *source;

	while ((source = domain->sources)) {
		domain->sources = source->next;
		gm_source_free(source);
	}
	gm_fd_close(gm_take_fd(&domain->device_fd));
}

void gm_domain_free(struct gmem_domain *domain)
{
	struct gmem_region *region;

	if (!domain)
		return;
	while ((region = domain->regions)) {
		domain->regions = region->next;
		gm_region_free(region);
	}
	gm_domain_end_launch(domain);
	gm_fd_close(domain->kvm_fd);
	explicit_bzero(&domain->token, sizeof(domain->token));
	free(domain);
}

void gm_client_add_domain(struct gmem_client *client, struct gmem_domain *domain)
{
	struct gmem_domain **slot = &client->domains;

	while (*slot)
		slot = &(*slot)->next;
	*slot = domain;
}

void gm_client_remove_domain(struct gmem_client *client, struct gmem_domain *domain)
{
	struct gmem_domain **slot = &client->domains;

	while (*slot != domain)
		slot = &(*slot)->next;
	*slot = domain->next;
}

struct gmem_domain *gm_client_find_domain(const struct gmem_client *client, uint64_t id)
{
	struct gmem_domain *domain = client->domains;

	while (domain && domain->id != id)
		domain = domain->next;
	return domain;
}

struct gmem_region *gm_client_find_region(const struct gmem_client *client, uint64_t id)
{
	for (struct gmem_domain *domain = client->domains; domain; domain = domain->next)
		for (struct gmem_region *region = domain->regions; region; region = region->next)
			if (region->id == id)
				return region;
	return NULL;
}

void gm_domain_add_region(struct gmem_domain *domain, struct gmem_region *region)
{
	struct gmem_region **slot = &domain->regions;

	while (*slot && (*slot)->gpa < region->gpa)
		slot = &(*slot)->next;
	region->next = *slot;
	region->domain = domain;
	*slot = region;
}

void gm_domain_remove_region(struct gmem_domain *domain, struct gmem_region *region)
{
	struct gmem_region **slot = &domain->regions;

	while (*slot != region)
		slot = &(*slot)->next;
	*slot = region->next;
}

int gm_check_name(struct gmem_client *client, const char *name)
{
	if (!name || gm_name_is_valid(name, strlen(name), GM_NAME_MAX))
		return 0;
	return gm_fail(
		client, GMEM_INVALID, GM_RULE_NAME,
		"A name has 1 to %d characters of A-Z, a-z, 0-9 and . _ : - (name, asked %zu "
		"characters).",
		GM_NAME_MAX, strlen(name));
}
