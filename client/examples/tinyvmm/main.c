/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tinyvmm.h"

static int complain(const gmem_client *client, const char *what)
{
	fprintf(stderr, "tinyvmm: %s: %s\n", what, gmem_error(client)->text);
	return 1;
}

static void show_own_rights(void)
{
	int fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);

	printf("tinyvmm: I am uid %u; opening /dev/kvm myself: %s\n", (unsigned)getuid(),
	       fd >= 0 ? "allowed" : strerror(errno));
	if (fd >= 0)
		(void)close(fd);
}

static int write_token(const gmem_domain *domain, const char *path)
{
	uint8_t token[GMEM_TOKEN_SIZE];
	int r;

	gmem_domain_token(domain, token);
	r = token_file_write(path, gmem_domain_id(domain), token);
	if (r < 0)
		fprintf(stderr, "tinyvmm: %s: %s\n", path, strerror(-r));
	return r < 0;
}

static int create(gmem_client *client, const struct options *options, struct machine *machine)
{
	struct gmem_domain_spec spec = {
		.kind = options->kind,
		.name = options->name,
		.flags = options->token_file ? GMEM_DOMAIN_PERSISTENT : 0,
		.devices = options->process ? 0 : GMEM_DEVICE_KVM,
	};
	struct gmem_region_spec ram = { .size = options->size, .name = "ram" };

	if (gmem_domain_create(client, &spec, &machine->domain) < 0)
		return complain(client, "create domain");
	if (options->is_private &&
	    private_open_vm(machine, gmem_domain_device_fd(machine->domain, GMEM_DEVICE_KVM)) < 0)
		return 1;
	if (gmem_region_create(machine->domain, &ram, &machine->region) < 0)
		return complain(client, "create region");
	if (options->is_private && private_bind(machine) < 0)
		return 1;
	return options->token_file ? write_token(machine->domain, options->token_file) : 0;
}

static int attach(gmem_client *client, const struct options *options, struct machine *machine)
{
	uint8_t token[GMEM_TOKEN_SIZE];
	uint64_t id;
	int r;

	r = token_file_read(options->token_file, &id, token);
	if (r < 0) {
		fprintf(stderr, "tinyvmm: %s: %s\n", options->token_file, strerror(-r));
		return 1;
	}
	if (gmem_domain_attach(client, id, token, 0, options->process ? 0 : GMEM_DEVICE_KVM,
			       &machine->domain) < 0)
		return complain(client, "attach");
	machine->region = gmem_domain_region(machine->domain, 0);
	if (!machine->region) {
		fprintf(stderr, "tinyvmm: the domain has no memory\n");
		return 1;
	}
	printf("tinyvmm: attached to domain %016" PRIx64 " with its token\n", id);
	return 0;
}

static int run(gmem_client *client, const struct options *options)
{
	struct machine machine = {
		.ticks = options->ticks,
		.tick_ms = options->tick_ms,
		.client = client,
		.vm_fd = -1,
		.is_private = options->is_private,
	};
	int r;

	r = options->attach ? attach(client, options, &machine) : create(client, options, &machine);
	if (r != 0)
		return r;
	if (options->allocate && gmem_region_allocate(machine.region, NULL, 0, NULL, NULL) < 0)
		return complain(client, "allocate");
	if (gmem_region_map(machine.region, &machine.ram) < 0)
		return complain(client, "map");
	machine.ram_size = gmem_region_size(machine.region);
	machine_listen(&machine, client);
	printf("tinyvmm: %" PRIu64 " MiB of %s from gmemd at %p%s\n", machine.ram_size >> 20,
	       options->kind, machine.ram,
	       options->process ? ", no KVM" : ", and an open /dev/kvm");
	(void)fflush(stdout);

	r = options->process
		    ? process_guest_run(&machine)
		    : vm_run(&machine, gmem_domain_device_fd(machine.domain, GMEM_DEVICE_KVM));
	gmem_client_on_event(client, NULL, NULL);
	if (r < 0) {
		fprintf(stderr, "tinyvmm: %s\n", strerror(-r));
		return 1;
	}
	return r;
}

int main(int argc, char **argv)
{
	char why[256] = "";
	struct gmem_connect_spec spec = { .name = "tinyvmm",
					  .ret_error = why,
					  .ret_error_size = sizeof(why) };
	struct options options;
	gmem_client *client;
	int r;

	options_parse(&options, argc, argv);
	show_own_rights();
	if (gmem_connect(options.address, &spec, &client) < 0) {
		fprintf(stderr, "tinyvmm: %s\n", why);
		return 1;
	}
	r = launch_has(options.kind) ? launch_run(client, &options) : run(client, &options);
	gmem_disconnect(client);
	return r;
}
