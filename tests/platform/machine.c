/* SPDX-License-Identifier: Apache-2.0 */
#include "machine.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

void on_each_version(int first, void (*body)(int version))
{
	char folder[] = "/tmp/gm-platform-XXXXXX", path[64];
	struct gm_platform_use left;

	assert_non_null(mkdtemp(folder));
	(void)snprintf(path, sizeof(path), "%s/machine", folder);
	for (int i = first; i < GM_PLATFORM_VERSIONS; i++) {
		print_message("  on Linux %s\n", gm_platform_versions[i]);
		assert_int_equal(gm_platform_new(path, gm_platform_versions[i]), 0);
		assert_int_equal(gm_platform_attach(path), 0);
		body(i);
		left = use();
		assert_int_equal(left.n_vms, 0);
		assert_int_equal(left.n_gmems, 0);
		assert_int_equal(left.n_assigned, 0);
		gm_platform_detach();
	}
	gm_platform_remove(path);
	(void)rmdir(folder);
}

void set(const char *setting)
{
	assert_int_equal(gm_platform_set(setting), 0);
}

struct gm_platform_use use(void)
{
	struct gm_platform_use now;

	assert_int_equal(gm_platform_get_use(&now), 0);
	return now;
}

int kvm_open(void)
{
	int fd = open("/dev/kvm", O_RDONLY | O_CLOEXEC);

	assert_true(fd >= 0);
	return fd;
}

int request(int fd, unsigned long number, void *arg)
{
	int r = ioctl(fd, number, arg);

	return r < 0 ? -errno : r;
}

int vm_create(unsigned long type)
{
	int kvm = kvm_open();
	int vm = ioctl(kvm, KVM_CREATE_VM, type);

	if (vm < 0)
		vm = -errno;
	(void)close(kvm);
	return vm;
}

int gmem_create(int vm, uint64_t size, uint64_t flags)
{
	struct gp_create_gmem args = { .size = size, .flags = flags };

	return request(vm, GP_CREATE_GUEST_MEMFD, &args);
}

int slot_set(int vm, unsigned slot, uint64_t gpa, uint64_t size, int gmem, uint64_t offset)
{
	struct gp_region2 region = { .slot = slot,
				     .flags = GP_MEM_GUEST_MEMFD,
				     .guest_phys_addr = gpa,
				     .memory_size = size,
				     .guest_memfd = (uint32_t)gmem,
				     .guest_memfd_offset = offset };

	return request(vm, GP_SET_REGION2, &region);
}

int attributes_set(int vm, uint64_t gpa, uint64_t size, bool private)
{
	struct gp_attributes args = { .address = gpa,
				      .size = size,
				      .attributes = private ? GP_ATTRIBUTE_PRIVATE : 0 };

	return request(vm, GP_SET_ATTRIBUTES, &args);
}

int enable_cap(int vm, unsigned capability, uint64_t arg)
{
	struct kvm_enable_cap cap = { .cap = capability, .args = { arg } };

	return request(vm, KVM_ENABLE_CAP, &cap);
}

int sev_command(int vm, unsigned id, void *data, int sev_fd, uint32_t *ret_error)
{
	struct gp_sev_cmd cmd = { .id = id,
				  .data = (uint64_t)(uintptr_t)data,
				  .sev_fd = (uint32_t)sev_fd };
	int r = request(vm, GP_ENCRYPT_OP, &cmd);

	if (ret_error)
		*ret_error = cmd.error;
	return r;
}

int tdx_command(int fd, unsigned id, unsigned flags, void *data)
{
	struct gp_tdx_cmd cmd = { .id = id, .flags = flags, .data = (uint64_t)(uintptr_t)data };

	return request(fd, GP_ENCRYPT_OP, &cmd);
}

uint8_t *pages_new(size_t n_pages)
{
	uint8_t *pages = mmap(NULL, n_pages * GP_PAGE_SIZE, PROT_READ | PROT_WRITE,
			      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	assert_ptr_not_equal(pages, MAP_FAILED);
	for (size_t i = 0; i < n_pages; i++)
		memset(pages + i * GP_PAGE_SIZE, (int)(i + 1), GP_PAGE_SIZE);
	return pages;
}

void pages_free(uint8_t *pages, size_t n_pages)
{
	assert_int_equal(munmap(pages, n_pages * GP_PAGE_SIZE), 0);
}

static void add_memory(struct guest *guest, uint64_t n_pages)
{
	uint64_t size = n_pages * GP_PAGE_SIZE;

	guest->n_pages = n_pages;
	guest->gmem = gmem_create(guest->vm, size, 0);
	assert_true(guest->gmem >= 0);
	assert_int_equal(slot_set(guest->vm, 0, 0, size, guest->gmem, 0), 0);
	assert_int_equal(attributes_set(guest->vm, 0, size, true), 0);
}

void snp_start(struct guest *guest, uint64_t n_pages)
{
	struct gp_sev_init init = { .ghcb_version = 2 };
	struct gp_snp_start start = { .policy = 0x30000 };

	*guest = (struct guest){ .vm = vm_create(GP_VM_SNP), .vcpu = -1 };
	assert_true(guest->vm >= 0);
	guest->sev = open("/dev/sev", O_RDONLY | O_CLOEXEC);
	assert_true(guest->sev >= 0);
	assert_int_equal(sev_command(guest->vm, GP_SEV_INIT2, &init, guest->sev, NULL), 0);
	add_memory(guest, n_pages);
	assert_int_equal(sev_command(guest->vm, GP_SNP_LAUNCH_START, &start, guest->sev, NULL), 0);
}

void td_start(struct guest *guest, uint64_t n_pages)
{
	struct {
		struct gp_tdx_init_vm vm;
		struct kvm_cpuid2 cpuid;
	} init = { .vm = { .xfam = 3 } };

	*guest = (struct guest){ .vm = vm_create(GP_VM_TDX), .sev = -1 };
	assert_true(guest->vm >= 0);
	assert_int_equal(tdx_command(guest->vm, GP_TDX_INIT_VM, 0, &init), 0);
	guest->vcpu = ioctl(guest->vm, KVM_CREATE_VCPU, 0UL);
	assert_true(guest->vcpu >= 0);
	assert_int_equal(tdx_command(guest->vcpu, GP_TDX_INIT_VCPU, 0, NULL), 0);
	add_memory(guest, n_pages);
}

void sev_start(struct guest *guest, unsigned long type)
{
	struct gp_sev_init init = { 0 };
	struct gp_sev_start start = { .policy = 1 };

	*guest = (struct guest){ .vm = vm_create(type), .vcpu = -1, .gmem = -1 };
	assert_true(guest->vm >= 0);
	guest->sev = open("/dev/sev", O_RDONLY | O_CLOEXEC);
	assert_true(guest->sev >= 0);
	assert_int_equal(sev_command(guest->vm, GP_SEV_INIT2, &init, guest->sev, NULL), 0);
	assert_int_equal(sev_command(guest->vm, GP_SEV_LAUNCH_START, &start, guest->sev, NULL), 0);
}

void guest_close(struct guest *guest)
{
	const int fds[] = { guest->vcpu, guest->gmem, guest->sev, guest->vm };

	for (size_t i = 0; i < sizeof(fds) / sizeof(*fds); i++)
		if (fds[i] >= 0)
			assert_int_equal(close(fds[i]), 0);
}

int snp_update(const struct guest *guest, struct gp_snp_update *update, uint32_t *ret_error)
{
	return sev_command(guest->vm, GP_SNP_LAUNCH_UPDATE, update, guest->sev, ret_error);
}

int snp_finish(const struct guest *guest, uint32_t *ret_error)
{
	struct gp_snp_finish finish = { 0 };

	return sev_command(guest->vm, GP_SNP_LAUNCH_FINISH, &finish, guest->sev, ret_error);
}

int td_add(const struct guest *guest, struct gp_tdx_region *region, unsigned flags)
{
	return tdx_command(guest->vcpu, GP_TDX_INIT_MEM_REGION, flags, region);
}
