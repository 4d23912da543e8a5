/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A project that has only the installed library: the ten lines of gmem.h.
 */
#include <gmem.h>
#include <stdio.h>

int main(void)
{
	const struct gmem_domain_spec vm = { .kind = "memfd" };
	const struct gmem_region_spec memory = { .size = 1 << 20 };
	gmem_client *client;
	gmem_domain *domain;
	gmem_region *region;
	void *ram;

	if (gmem_connect("builtin:", NULL, &client) < 0)
		return 1;
	if (gmem_domain_create(client, &vm, &domain) < 0 ||
	    gmem_region_create(domain, &memory, &region) < 0 || gmem_region_map(region, &ram) < 0) {
		fprintf(stderr, "%s\n", gmem_error(client)->text);
		gmem_disconnect(client);
		return 1;
	}
	((volatile char *)ram)[0] = 1;
	printf("memory of %llu bytes\n", (unsigned long long)gmem_region_size(region));
	gmem_disconnect(client);
	return 0;
}
