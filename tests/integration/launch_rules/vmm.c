/* SPDX-License-Identifier: Apache-2.0 */
#include "rules.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "client.h"
#include "gm_platform.h"

/* One page, readable, of this process's own. */
static _Alignas(4096) uint8_t own_page[PAGE] = { 0x77 };

void must(bool good, const char *what)
{
	if (good)
		return;
	(void)fprintf(stderr, "t_launch_rules: %s: %s\n", what, strerror(errno));
	exit(2);
}

void set(const char *setting)
{
	must(gm_platform_set(setting) == 0, setting);
}

static void done(const struct vmm *vmm, int r, const char *what)
{
	if (r == 0)
		return;
	(void)fprintf(stderr, "t_launch_rules: %s: %s\n", what, gmem_error(vmm->client)->text);
	exit(2);
}

/* ---- by the rules */

static const struct {
	unsigned kind;
	const char *name;
	unsigned long vm_type;
} kinds[] = {
	{ SNP, "snp", GP_VM_SNP },
	{ TDX, "tdx", GP_VM_TDX },
	{ SEV, "sev", GP_VM_SEV },
	{ SEV_ES, "sev-es", GP_VM_SEV_ES },
};

static size_t find_kind(unsigned kind)
{
	size_t i = 0;

	while (kinds[i].kind != kind)
		i++;
	return i;
}

const char *vmm_kind_name(unsigned kind)
{
	return kinds[find_kind(kind)].name;
}

int vmm_create(unsigned kind)
{
	int kvm = open("/dev/kvm", O_RDONLY | O_CLOEXEC);
	int vm = ioctl(kvm, KVM_CREATE_VM, kinds[find_kind(kind)].vm_type);

	must(vm >= 0, "a VM");
	(void)close(kvm);
	return vm;
}

int vmm_start(struct vmm *vmm)
{
	static const struct gmem_snp_start snp = { .policy = 0x30000, .ghcb_version = 2 };
	static const struct gmem_tdx_start tdx = { .xfam = 3 };
	const struct gmem_sev_start sev = { .policy = vmm->kind == SEV_ES ? 5 : 1 };

	if (vmm->kind == TDX)
		return gmem_launch_start(vmm->domain, &tdx, sizeof(tdx));
	if (vmm->kind & OWN)
		return gmem_launch_start(vmm->domain, &sev, sizeof(sev));
	return gmem_launch_start(vmm->domain, &snp, sizeof(snp));
}

void vmm_add_vcpu(struct vmm *vmm)
{
	vmm->vcpu = ioctl(vmm->vm, KVM_CREATE_VCPU, 0UL);
	must(vmm->vcpu >= 0, "a vCPU");
	if (vmm->kind != TDX)
		return;
	must(raw_tdx(vmm->vcpu, GP_TDX_INIT_VCPU, 0, NULL) == 0, "TDX_INIT_VCPU");
	done(vmm, gmem_launch_set_vcpu(vmm->domain, 0, vmm->vcpu), "name the vCPU");
}

int vmm_put(struct vmm *vmm, enum gmem_page_type type, uint64_t first, uint64_t n)
{
	bool has_source = type != GMEM_PAGE_TYPE_ZERO && type != GMEM_PAGE_TYPE_SECRETS;
	const struct gmem_population what = {
		.offset = first * PAGE,
		.length = n * PAGE,
		.type = type,
		.source = has_source ? vmm->source : NULL,
		.source_offset = has_source ? first % N_PAGES * PAGE : 0,
	};

	return gmem_region_populate(vmm->region, &what);
}

int vmm_finish(struct vmm *vmm)
{
	const struct gmem_launch_end one_vcpu = { .vcpus = { .how = GMEM_VCPUS_MODEL,
							     .count = 1,
							     .vmm = "qemu",
							     .signature = 0x800f12 } };

	return gmem_launch_finish(vmm->domain, vmm->kind == SEV_ES ? &one_vcpu : NULL);
}

static void adopt(struct vmm *vmm)
{
	const struct gmem_domain_spec spec = { .kind = vmm_kind_name(vmm->kind) };

	done(vmm, gmem_domain_create(vmm->client, &spec, &vmm->domain), "create a domain");
	vmm->vm = vmm_create(vmm->kind);
	done(vmm, gmem_vm_adopt(vmm->domain, vmm->vm), "adopt the VM");
}

void vmm_make_region(struct vmm *vmm)
{
	const struct gmem_region_spec spec = { .size = N_PAGES * PAGE };
	static uint8_t bytes[N_PAGES * PAGE];

	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)(i / PAGE + 1);
	done(vmm, gmem_region_create(vmm->domain, &spec, &vmm->region), "create a region");
	done(vmm, gmem_source_create(vmm->domain, bytes, sizeof(bytes), &vmm->source), "a source");
}

void vmm_open(struct vmm *vmm, gmem_client *client, unsigned kind, enum stage stage)
{
	*vmm = (struct vmm){ .client = client, .kind = kind, .vm = -1, .vcpu = -1 };
	adopt(vmm);
	if (stage >= STARTED)
		done(vmm, vmm_start(vmm), "start");
	if (stage >= STARTED && kind & (TDX | SEV_ES))
		vmm_add_vcpu(vmm);
	if (stage >= MADE)
		vmm_make_region(vmm);
	if (stage >= BOUND && !(kind & OWN))
		done(vmm, gmem_region_bind(vmm->region, 0), "bind");
	if (stage >= POPULATED)
		done(vmm, vmm_put(vmm, GMEM_PAGE_TYPE_NORMAL, 0, 4), "populate");
	if (stage >= FINISHED)
		done(vmm, vmm_finish(vmm), "finish");
}

void vmm_close(struct vmm *vmm)
{
	(void)gmem_domain_destroy(vmm->domain);
	if (vmm->vcpu >= 0)
		(void)close(vmm->vcpu);
	(void)close(vmm->vm);
}

/* ---- past the rules */

int raw(int fd, unsigned long request, void *arg)
{
	int r = ioctl(fd, request, arg);

	return r < 0 ? -errno : r;
}

int raw_sev(struct vmm *vmm, uint32_t id, void *data)
{
	int own = open("/dev/sev", O_RDONLY | O_CLOEXEC);
	struct gp_sev_cmd cmd = { .id = id, .data = (uintptr_t)data, .sev_fd = (uint32_t)own };
	int r = raw(vmm->vm, GP_ENCRYPT_OP, &cmd);

	(void)close(own);
	return r;
}

int raw_tdx(int fd, uint32_t id, uint32_t flags, void *data)
{
	struct gp_tdx_cmd cmd = { .id = id, .flags = flags, .data = (uintptr_t)data };

	return raw(fd, GP_ENCRYPT_OP, &cmd);
}

int raw_put(struct vmm *vmm, uint64_t page)
{
	struct gp_tdx_region region = { (uintptr_t)own_page, page * PAGE, 1 };
	struct gp_snp_update update = {
		.gfn_start = page, .uaddr = (uintptr_t)own_page, .len = PAGE, .type = GP_SNP_NORMAL
	};

	if (vmm->kind == TDX)
		return raw_tdx(vmm->vcpu, GP_TDX_INIT_MEM_REGION, GP_TDX_MEASURE, &region);
	return raw_sev(vmm, GP_SNP_LAUNCH_UPDATE, &update);
}

int raw_share(struct vmm *vmm, uint64_t page)
{
	struct gp_attributes args = { .address = page * PAGE, .size = PAGE };

	return raw(vmm->vm, GP_SET_ATTRIBUTES, &args);
}

int raw_remove_slot(struct vmm *vmm)
{
	struct gp_region2 slot = { .flags = GP_MEM_GUEST_MEMFD };

	return raw(vmm->vm, GP_SET_REGION2, &slot);
}

int raw_allocate(struct vmm *vmm, int mode, uint64_t page)
{
	return fallocate(vmm->region->private_fd, FALLOC_FL_KEEP_SIZE | mode, (off_t)(page * PAGE),
			 (off_t)PAGE);
}
