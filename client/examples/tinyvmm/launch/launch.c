/* SPDX-License-Identifier: Apache-2.0 */
/* A launch from its beginning to its end, on any platform. */
#include <errno.h>
#include <linux/kvm.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "launch.h"

#define RAM_SLOT 0
#define ROM_SLOT 1

static const struct platform *const platforms[] = { &launch_sev, &launch_sev_es, &launch_snp,
						    &launch_tdx };

static const struct platform *find(const char *kind)
{
	for (size_t i = 0; i < sizeof(platforms) / sizeof(*platforms); i++)
		if (strcmp(platforms[i]->kind, kind) == 0)
			return platforms[i];
	return NULL;
}

bool launch_has(const char *kind)
{
	return find(kind) != NULL;
}

int launch_complain(const struct launch *launch, const char *what)
{
	const struct gmem_error *error = gmem_error(launch->client);

	fprintf(stderr, "tinyvmm: %s: %s [%s/%s]\n", what, error->text,
		gmem_status_name(error->status), error->rule);
	return -1;
}

int launch_complain_errno(const char *what)
{
	fprintf(stderr, "tinyvmm: %s: %s\n", what, strerror(errno));
	return -1;
}

int launch_fault(const char *what)
{
	fprintf(stderr, "tinyvmm: %s\n", what);
	return -1;
}

int launch_add_vcpu(struct launch *launch, unsigned index)
{
	launch->vcpu_fds[index] = ioctl(launch->vm_fd, KVM_CREATE_VCPU, (unsigned long)index);
	return launch->vcpu_fds[index] < 0 ? launch_complain_errno("make a vCPU") : 0;
}

/* ---- memory */

static int put(struct launch *launch, struct gmem_population *what, uint64_t gpa)
{
	gmem_region *regions[] = { launch->ram, launch->rom };

	for (size_t i = 0; i < 2; i++) {
		uint64_t first = gmem_region_gpa(regions[i]);

		if (gpa < first || gpa - first >= gmem_region_size(regions[i]))
			continue;
		what->offset = gpa - first;
		if (gmem_region_populate(regions[i], what) < 0)
			return launch_complain(launch, "populate");
		return 0;
	}
	return launch_fault("the firmware wants memory where the guest has none");
}

static int put_copy(struct launch *launch, struct gmem_population *what, uint64_t gpa,
		    const void *bytes, size_t n_bytes)
{
	uint8_t *copy = calloc(1, what->length);
	int r;

	if (!copy)
		return launch_complain_errno("a copy of what goes in");
	if (n_bytes > 0)
		memcpy(copy, bytes, n_bytes);
	r = gmem_source_create(launch->domain, copy, what->length, &what->source);
	free(copy);
	return r < 0 ? launch_complain(launch, "hand in a source") : put(launch, what, gpa);
}

int launch_put(struct launch *launch, enum gmem_page_type type, uint64_t gpa, uint64_t length,
	       const void *bytes, size_t n_bytes)
{
	struct gmem_population what = { .length = length, .type = type };

	if (type == GMEM_PAGE_TYPE_ZERO || type == GMEM_PAGE_TYPE_SECRETS)
		return put(launch, &what, gpa);
	if (n_bytes > length)
		return launch_fault("more is to go in than there is room");
	return put_copy(launch, &what, gpa, bytes, n_bytes);
}

int launch_put_image(struct launch *launch, enum gmem_page_type type, uint64_t gpa, uint64_t length,
		     uint64_t offset)
{
	struct gmem_population what = {
		.length = length,
		.type = type,
		.source = launch->firmware,
		.source_offset = offset,
	};

	return put(launch, &what, gpa);
}

static int add_region(struct launch *launch, const struct gmem_region_spec *spec, uint32_t slot,
		      gmem_region **ret_region)
{
	if (gmem_region_create(launch->domain, spec, ret_region) < 0)
		return launch_complain(launch, "create region");
	if (launch->platform->bind)
		return launch->platform->bind(launch, *ret_region, slot);
	if (gmem_region_bind(*ret_region, slot) < 0)
		return launch_complain(launch, "bind region");
	return 0;
}

static int add_memory(struct launch *launch)
{
	const struct gmem_region_spec ram = { .size = launch->options->size, .name = "ram" };
	const struct gmem_region_spec rom = {
		.gpa = FIRMWARE_TOP - launch->image.size,
		.size = launch->image.size,
		.name = "firmware",
	};

	if (add_region(launch, &ram, RAM_SLOT, &launch->ram) < 0 ||
	    add_region(launch, &rom, ROM_SLOT, &launch->rom) < 0)
		return -1;
	if (gmem_source_create(launch->domain, launch->image.bytes, launch->image.size,
			       &launch->firmware) < 0)
		return launch_complain(launch, "hand in the firmware");
	return 0;
}

/* ---- from the beginning to the end */

static int open_vm(struct launch *launch)
{
	const struct gmem_domain_spec spec = {
		.kind = launch->options->kind,
		.name = launch->options->name,
		.devices = GMEM_DEVICE_KVM,
	};

	if (gmem_domain_create(launch->client, &spec, &launch->domain) < 0)
		return launch_complain(launch, "create domain");
	launch->vm_fd = ioctl(gmem_domain_device_fd(launch->domain, GMEM_DEVICE_KVM), KVM_CREATE_VM,
			      launch->platform->vm_type);
	if (launch->vm_fd < 0)
		return launch_complain_errno("create a VM");
	if (gmem_vm_adopt(launch->domain, launch->vm_fd) < 0)
		return launch_complain(launch, "adopt the VM");
	return 0;
}

static int finish(struct launch *launch)
{
	struct gmem_domain_info info;

	if (gmem_launch_finish(launch->domain, &launch->end) < 0)
		return launch_complain(launch, "finish the launch");
	if (gmem_get_domain(launch->client, gmem_domain_id(launch->domain), &info) < 0)
		return launch_complain(launch, "look at the domain");
	printf("tinyvmm: launch %s, measurement ", info.launch);
	for (uint32_t i = 0; i < info.measurement_size; i++)
		printf("%02x", info.measurement[i]);
	printf("%s\n", info.measurement_size ? "" : info.measurement_reason);
	(void)fflush(stdout);
	return 0;
}

static int go_through(struct launch *launch)
{
	const struct platform *platform = launch->platform;

	if (open_vm(launch) < 0 || platform->start(launch) < 0)
		return -1;
	if (platform->prepare && platform->prepare(launch) < 0)
		return -1;
	if (add_memory(launch) < 0 || platform->populate(launch) < 0)
		return -1;
	if (platform->complete && platform->complete(launch) < 0)
		return -1;
	return finish(launch);
}

/* For whoever looks at the guest meanwhile. */
static void linger(struct launch *launch)
{
	struct machine machine = { .tick_ms = launch->options->tick_ms, .client = launch->client };

	machine_listen(&machine, launch->client);
	for (uint64_t i = 0; i < launch->options->ticks && machine_pause(&machine); i++)
		;
	gmem_client_on_event(launch->client, NULL, NULL);
}

int launch_run(gmem_client *client, const struct options *options)
{
	struct launch launch = {
		.options = options,
		.platform = find(options->kind),
		.client = client,
		.image = options->firmware,
		.vm_fd = -1,
	};
	int r;

	if (!launch.platform)
		return launch_fault("guests of this kind are not launched") < 0;
	if (launch.image.size == 0 || launch.image.size % PAGE_SIZE != 0)
		return launch_fault("the firmware is not made of whole pages") < 0;
	r = go_through(&launch);
	if (r == 0)
		linger(&launch);
	for (unsigned i = 0; i < VCPUS_MAX; i++)
		if (launch.vcpu_fds[i] > 0)
			(void)close(launch.vcpu_fds[i]);
	if (launch.domain)
		(void)gmem_domain_destroy(launch.domain);
	if (launch.vm_fd >= 0)
		(void)close(launch.vm_fd);
	return r < 0;
}
