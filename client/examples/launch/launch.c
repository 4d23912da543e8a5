/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The launch of a confidential guest in one file: what a VMM does between an image and a guest that
 * may run, and what it makes of an error. tinyvmm is the same for real firmware and with a guest in
 * it.
 *
 * usage: launch SOCKET snp|tdx IMAGE
 *
 *     cc launch.c $(pkg-config --cflags --libs gmem)
 *
 * Puts the image at address 0, measured, makes one vCPU, finishes, and prints the digest that gmemd
 * has predicted. Exit status as in sysexits.h: what a manager of guests would act on.
 */
#include <gmem.h>
#include <gmem_kinds.h>

#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

/* Numbers of Linux 6.16, which the distribution's headers may not have. */
#define VM_TYPE_SNP 4UL
#define VM_TYPE_TDX 5UL
#define TDX_INIT_VCPU 2

struct tdx_command {
	uint32_t id;
	uint32_t flags;
	uint64_t data;
	uint64_t hw_error;
};

struct launch {
	gmem_client *client;
	gmem_domain *domain;
	gmem_region *region;
	const void *image;
	size_t image_size;
	int is_tdx;
	int vm;
	int vcpu;
};

/* ---- what to make of an error */

/* Its text is a sentence for people; programs look at the status. */
static int exit_status(const struct gmem_error *error)
{
	switch (error->status) {
	case GMEM_OVER_LIMIT:  /* limit, used and asked say whose limit it is */
	case GMEM_NO_RESOURCE: /* the host has no room for another guest just now */
	case GMEM_BUSY:
	case GMEM_SHUTTING_DOWN:
	case GMEM_DISCONNECTED:
	case GMEM_TIMED_OUT:
		return EX_TEMPFAIL; /* later, or elsewhere */
	case GMEM_UNSUPPORTED:
		return EX_UNAVAILABLE; /* elsewhere */
	case GMEM_DENIED:
		return EX_NOPERM; /* the host's policy, or a digest that it does not allow */
	case GMEM_SYSTEM:
		return EX_OSERR; /* a system call of this process: sys_errno */
	case GMEM_FAILED:	 /* the kernel's or the firmware's no: sys_errno, firmware_error */
		return error->firmware_error ? EX_PROTOCOL : EX_OSERR;
	default:
		return EX_SOFTWARE; /* invalid, wrong-state: this program has a fault */
	}
}

static int complain(const struct launch *launch, const char *what)
{
	const struct gmem_error *error = gmem_error(launch->client);

	fprintf(stderr, "launch: %s: %s [%s/%s]\n", what, error->text,
		gmem_status_name(error->status), error->rule);
	return exit_status(error);
}

static int complain_errno(const char *what)
{
	fprintf(stderr, "launch: %s: %s\n", what, strerror(errno));
	return EX_OSERR;
}

/* ---- from the beginning to the end; each returns 0 or an exit status */

/* With the domain gmemd leases a hardware slot: without one it is refused here, and not later. */
static int adopt(struct launch *launch)
{
	const struct gmem_domain_spec spec = {
		.kind = launch->is_tdx ? "tdx" : "snp",
		.devices = GMEM_DEVICE_KVM,
	};
	int kvm;

	if (gmem_domain_create(launch->client, &spec, &launch->domain) < 0)
		return complain(launch, "create a domain");
	kvm = gmem_domain_device_fd(launch->domain, GMEM_DEVICE_KVM);
	launch->vm = ioctl(kvm, KVM_CREATE_VM, launch->is_tdx ? VM_TYPE_TDX : VM_TYPE_SNP);
	if (launch->vm < 0)
		return complain_errno("create a VM");
	if (gmem_vm_adopt(launch->domain, launch->vm) < 0)
		return complain(launch, "adopt the VM");
	return 0;
}

/* The VM has no vCPU yet. */
static int start(struct launch *launch)
{
	const struct gmem_snp_start snp = { .policy = 0x30000 };
	const struct gmem_tdx_start tdx = { .xfam = 3 };
	const void *parameters = launch->is_tdx ? (const void *)&tdx : &snp;
	size_t size = launch->is_tdx ? sizeof(tdx) : sizeof(snp);

	if (gmem_launch_start(launch->domain, parameters, size) < 0)
		return complain(launch, "start");
	return 0;
}

/*
 * TDX populates by a vCPU, so it is made before. SNP measures its registers at the end, and takes
 * them as they are then.
 */
static int add_vcpu(struct launch *launch)
{
	struct tdx_command init = { .id = TDX_INIT_VCPU };

	launch->vcpu = ioctl(launch->vm, KVM_CREATE_VCPU, 0UL);
	if (launch->vcpu < 0)
		return complain_errno("create a vCPU");
	if (!launch->is_tdx)
		return 0;
	if (ioctl(launch->vcpu, KVM_MEMORY_ENCRYPT_OP, &init) < 0)
		return complain_errno("initialise the vCPU");
	if (gmem_launch_set_vcpu(launch->domain, 0, launch->vcpu) < 0)
		return complain(launch, "name the vCPU");
	return 0;
}

static int populate(struct launch *launch)
{
	struct gmem_region_spec spec = { .size = (launch->image_size + 4095) & ~4095UL };
	gmem_source *source;

	if (gmem_region_create(launch->domain, &spec, &launch->region) < 0)
		return complain(launch, "create a region");
	if (gmem_region_bind(launch->region, 0) < 0)
		return complain(launch, "bind it to the VM");
	/* A copy that nobody changes any more: gmemd hashes what the firmware gets. */
	if (gmem_source_create(launch->domain, launch->image, launch->image_size, &source) < 0)
		return complain(launch, "hand in the image");
	if (gmem_region_populate(launch->region, &(struct gmem_population){ .source = source }) < 0)
		return complain(launch, "populate");
	return 0;
}

static int finish(struct launch *launch)
{
	struct gmem_launch_end end = { 0 };

	/* What the digest has of the vCPU: nobody has set a register or CPUID values, so it is as
	 * KVM resets it. A VMM says "qemu" and the processor's signature, or hands in pages. */
	if (!launch->is_tdx)
		end.vcpus = (struct gmem_vcpus){
			.how = GMEM_VCPUS_MODEL,
			.count = 1,
			.vmm = "kvm",
			.signature = 0x600,
		};
	if (gmem_launch_finish(launch->domain, &end) < 0)
		return complain(launch, "finish");
	return 0;
}

static int show(struct launch *launch)
{
	struct gmem_domain_info info;

	if (gmem_get_domain(launch->client, gmem_domain_id(launch->domain), &info) < 0)
		return complain(launch, "look at the domain");
	for (uint32_t i = 0; i < info.measurement_size; i++)
		printf("%02x", info.measurement[i]);
	printf("%s\n", info.measurement_size ? "" : info.measurement_reason);
	return 0;
}

static int go_through(struct launch *launch)
{
	int r = adopt(launch);

	if (r == 0)
		r = start(launch);
	if (r == 0 && launch->is_tdx)
		r = add_vcpu(launch);
	if (r == 0)
		r = populate(launch);
	if (r == 0 && !launch->is_tdx)
		r = add_vcpu(launch);
	if (r == 0)
		r = finish(launch);
	/* From here on KVM_RUN. */
	if (r == 0)
		r = show(launch);
	return r;
}

/* A launch that has failed is not repaired: what was measured stays measured. It ends here. */
static void end(struct launch *launch)
{
	if (launch->domain)
		(void)gmem_domain_destroy(launch->domain);
	if (launch->vcpu >= 0)
		(void)close(launch->vcpu);
	if (launch->vm >= 0)
		(void)close(launch->vm);
	gmem_disconnect(launch->client);
}

static int open_image(struct launch *launch, const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat st;
	void *image;

	if (fd < 0 || fstat(fd, &st) < 0)
		return complain_errno(path);
	image = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	(void)close(fd);
	if (image == MAP_FAILED)
		return complain_errno(path);
	launch->image = image;
	launch->image_size = (size_t)st.st_size;
	return 0;
}

int main(int argc, char *argv[])
{
	struct launch launch = { .vm = -1, .vcpu = -1 };
	char why[256];
	struct gmem_connect_spec spec = {
		.name = "launch",
		.ret_error = why,
		.ret_error_size = sizeof(why),
	};
	int r;

	if (argc != 4) {
		fprintf(stderr, "usage: launch SOCKET snp|tdx IMAGE\n");
		return EX_USAGE;
	}
	launch.is_tdx = strcmp(argv[2], "tdx") == 0;
	r = open_image(&launch, argv[3]);
	if (r != 0)
		return r;
	if (gmem_connect(argv[1], &spec, &launch.client) < 0) {
		fprintf(stderr, "launch: %s\n", why);
		return EX_TEMPFAIL;
	}
	r = go_through(&launch);
	end(&launch);
	return r;
}
