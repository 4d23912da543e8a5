/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ids of guests: who takes one, who keeps it, when it is free again; and encryption contexts that
 * change their VM. On every version.
 */
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "machine.h"

static int init2(int vm, const struct gp_sev_init *init)
{
	struct gp_sev_init args = *init;

	return sev_command(vm, GP_SEV_INIT2, &args, -1, NULL);
}

/* sev_asid_new: SEV-ES and SNP share one range; none left is EBUSY. */
static void pools(int version)
{
	const struct gp_sev_init init = { 0 };
	int es, snp, plain, more;

	(void)version;
	set("sev-es-asids=2");
	es = vm_create(GP_VM_SEV_ES);
	snp = vm_create(GP_VM_SNP);
	plain = vm_create(GP_VM_SEV);
	more = vm_create(GP_VM_SNP);
	/* A VM costs no id until it is initialised. */
	assert_int_equal(use().sev_es_used, 0);
	assert_int_equal(init2(es, &init), 0);
	assert_int_equal(init2(snp, &init), 0);
	assert_int_equal(use().sev_es_used, 2);
	assert_int_equal(init2(more, &init), -EBUSY);
	assert_int_equal(init2(plain, &init), 0);
	assert_int_equal(use().sev_used, 1);
	assert_int_equal(close(es), 0);
	assert_int_equal(init2(more, &init), 0);
	assert_int_equal(close(more), 0);
	assert_int_equal(close(plain), 0);
	assert_int_equal(close(snp), 0);
}

static void an_id_is_taken_at_init_and_free_after_close(void **state)
{
	(void)state;
	on_each_version(V6_11, pools);
}

/* kvm_get_kvm in __kvm_gmem_create: whoever holds the file holds the id, also by a mapping. */
static void held(int version)
{
	struct guest guest;
	int copy;

	(void)version;
	snp_start(&guest, 4);
	copy = fcntl(guest.gmem, F_DUPFD_CLOEXEC, 0);
	assert_true(copy >= 0);
	guest_close(&guest);
	assert_int_equal(use().sev_es_used, 1);
	assert_int_equal(close(copy), 0);
	assert_int_equal(use().sev_es_used, 0);
}

static void a_guest_memfd_keeps_the_id_of_its_vm(void **state)
{
	(void)state;
	on_each_version(V6_11, held);
}

static void hold_until_told(int fd, int end)
{
	char byte;

	(void)fd;
	_exit(read(end, &byte, 1) == 0 ? 0 : 1);
}

/* The same, held by another process: the daemon's case. */
static void held_elsewhere(int version)
{
	struct guest guest;
	int ends[2], status;
	pid_t pid;

	(void)version;
	snp_start(&guest, 4);
	assert_int_equal(pipe(ends), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		(void)close(guest.vm);
		(void)close(ends[1]);
		hold_until_told(guest.gmem, ends[0]);
	}
	guest_close(&guest);
	assert_int_equal(use().n_vms, 1);
	assert_int_equal(close(ends[1]), 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(use().n_vms, 0);
	assert_int_equal(close(ends[0]), 0);
}

static void an_fd_in_another_process_keeps_the_vm(void **state)
{
	(void)state;
	on_each_version(V6_11, held_elsewhere);
}

/* __sev_guest_init, and once only. */
static void init_rules(int version)
{
	int plain = vm_create(GP_VM_SEV), snp = vm_create(GP_VM_SNP), vcpu;

	(void)version;
	assert_int_equal(init2(plain, &(struct gp_sev_init){ .flags = 1 }), -EINVAL);
	assert_int_equal(init2(plain, &(struct gp_sev_init){ .vmsa_features = 0x20 }), -EINVAL);
	assert_int_equal(init2(plain, &(struct gp_sev_init){ .ghcb_version = 2 }), -EINVAL);
	assert_int_equal(init2(snp, &(struct gp_sev_init){ .vmsa_features = 1 }), -EINVAL);
	assert_int_equal(init2(snp, &(struct gp_sev_init){ .ghcb_version = 3 }), -EINVAL);
	assert_int_equal(init2(plain, &(struct gp_sev_init){ 0 }), 0);
	assert_int_equal(init2(plain, &(struct gp_sev_init){ 0 }), -EINVAL);
	vcpu = ioctl(snp, KVM_CREATE_VCPU, 0UL);
	assert_int_equal(init2(snp, &(struct gp_sev_init){ 0 }), -EINVAL);
	assert_int_equal(close(vcpu), 0);
	assert_int_equal(close(snp), 0);
	snp = vm_create(GP_VM_SNP);
	assert_int_equal(init2(snp, &(struct gp_sev_init){ 0 }), 0);
	/* sev_mem_enc_ioctl: from now on only commands of its own. */
	assert_int_equal(sev_command(snp, GP_SEV_LAUNCH_START, NULL, -1, NULL), -EPERM);
	assert_int_equal(sev_command(plain, GP_SNP_LAUNCH_START, NULL, -1, NULL), -ENOTTY);
	assert_int_equal(close(snp), 0);
	assert_int_equal(close(plain), 0);
}

static void a_vm_is_initialised_once_and_by_the_rules(void **state)
{
	(void)state;
	on_each_version(V6_11, init_rules);
}

/* tdx_guest_keyid_alloc. */
static void keys(int version)
{
	struct guest first;
	struct {
		struct gp_tdx_init_vm vm;
		struct kvm_cpuid2 cpuid;
	} init = { .vm = { .xfam = 3 } };
	int vm;

	(void)version;
	set("tdx-keys=1");
	td_start(&first, 1);
	vm = vm_create(GP_VM_TDX);
	assert_int_equal(tdx_command(vm, GP_TDX_INIT_VM, 0, &init), -ENOSPC);
	guest_close(&first);
	init.vm.xfam = 1;
	assert_int_equal(tdx_command(vm, GP_TDX_INIT_VM, 0, &init), -EINVAL);
	init.vm.xfam = 3;
	assert_int_equal(tdx_command(vm, GP_TDX_INIT_VM, 0, &init), 0);
	assert_int_equal(tdx_command(vm, GP_TDX_INIT_VM, 0, &init), -EINVAL);
	assert_int_equal(close(vm), 0);
}

static void a_key_id_is_taken_at_init_and_free_after_close(void **state)
{
	(void)state;
	on_each_version(V6_16, keys);
}

/* sev_pin_memory, as a user without CAP_IPC_LOCK: a limit for each VM on its own. */
static int pin_in_child(void)
{
	const struct rlimit limit = { 4 * GP_PAGE_SIZE, 4 * GP_PAGE_SIZE };
	uint8_t *bytes = pages_new(8);
	struct kvm_enc_region small = { (uint64_t)(uintptr_t)bytes, 3 * GP_PAGE_SIZE };
	struct kvm_enc_region next = { small.addr + small.size, 2 * GP_PAGE_SIZE };
	struct guest one, two;

	sev_start(&one, GP_VM_SEV);
	sev_start(&two, GP_VM_SEV);
	if (setrlimit(RLIMIT_MEMLOCK, &limit) < 0 || (geteuid() == 0 && setuid(65534) < 0))
		return 1;
	if (request(one.vm, KVM_MEMORY_ENCRYPT_REG_REGION, &small) != 0 ||
	    request(one.vm, KVM_MEMORY_ENCRYPT_REG_REGION, &next) != -ENOMEM)
		return 2;
	if (request(two.vm, KVM_MEMORY_ENCRYPT_REG_REGION, &next) != 0)
		return 3;
	if (request(one.vm, KVM_MEMORY_ENCRYPT_UNREG_REGION, &next) != -EINVAL ||
	    request(one.vm, KVM_MEMORY_ENCRYPT_UNREG_REGION, &small) != 0 ||
	    request(one.vm, KVM_MEMORY_ENCRYPT_REG_REGION, &next) != 0)
		return 4;
	return 0;
}

static void pinning(int version)
{
	int status;
	pid_t pid;

	(void)version;
	fflush(NULL);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0)
		_exit(pin_in_child());
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

static void pinned_memory_is_limited_for_each_vm(void **state)
{
	(void)state;
	on_each_version(V6_11, pinning);
}

/* The firmware's states: update, measure, secret, finish. */
static void order(int version)
{
	uint8_t *bytes = pages_new(1), blob[48];
	struct gp_sev_blob data = { (uint64_t)(uintptr_t)bytes, GP_PAGE_SIZE, 0 };
	struct gp_sev_blob room = { (uint64_t)(uintptr_t)blob, 0, 0 };
	struct guest guest;
	uint32_t error;

	(void)version;
	sev_start(&guest, GP_VM_SEV);
	assert_int_equal(sev_command(guest.vm, GP_SEV_LAUNCH_FINISH, NULL, -1, &error), -EIO);
	assert_int_equal(error, GP_FW_INVALID_GUEST_STATE);
	data.len = 8;
	assert_int_equal(sev_command(guest.vm, GP_SEV_LAUNCH_UPDATE_DATA, &data, -1, &error), -EIO);
	assert_int_equal(error, GP_FW_INVALID_LEN);
	data.len = GP_PAGE_SIZE;
	assert_int_equal(sev_command(guest.vm, GP_SEV_LAUNCH_UPDATE_DATA, &data, -1, NULL), 0);
	assert_int_equal(sev_command(guest.vm, GP_SEV_LAUNCH_UPDATE_VMSA, NULL, -1, NULL), -ENOTTY);
	/* Asked with no room it says how much. */
	assert_int_equal(sev_command(guest.vm, GP_SEV_LAUNCH_MEASURE, &room, -1, &error), -EIO);
	assert_int_equal(error, GP_FW_INVALID_LEN);
	assert_int_equal(room.len, sizeof(blob));
	assert_int_equal(sev_command(guest.vm, GP_SEV_LAUNCH_MEASURE, &room, -1, NULL), 0);
	assert_int_equal(sev_command(guest.vm, GP_SEV_LAUNCH_UPDATE_DATA, &data, -1, &error), -EIO);
	assert_int_equal(error, GP_FW_INVALID_GUEST_STATE);
	assert_int_equal(sev_command(guest.vm, GP_SEV_LAUNCH_FINISH, NULL, -1, NULL), 0);
	guest_close(&guest);
	pages_free(bytes, 1);
}

static void a_sev_launch_goes_through_its_states_in_order(void **state)
{
	(void)state;
	on_each_version(V6_11, order);
}

/* sev_vm_move_enc_context_from; as the kernel's sev_migrate_tests have it. */
static void move(int version)
{
	uint8_t before[GM_PLATFORM_DIGEST_MAX], after[GM_PLATFORM_DIGEST_MAX];
	int target = vm_create(GP_VM_SEV), other = vm_create(GP_VM_SEV_ES);
	struct guest guest;

	(void)version;
	sev_start(&guest, GP_VM_SEV);
	assert_int_equal(gm_platform_digest(guest.vm, before), 32);
	assert_int_equal(enable_cap(target, GP_CAP_MOVE_ENC_CONTEXT, 1000), -EBADF);
	assert_int_equal(enable_cap(target, GP_CAP_MOVE_ENC_CONTEXT, (uint64_t)other), -EINVAL);
	assert_int_equal(enable_cap(target, GP_CAP_MOVE_ENC_CONTEXT, (uint64_t)target), -EINVAL);
	assert_int_equal(enable_cap(other, GP_CAP_MOVE_ENC_CONTEXT, (uint64_t)guest.vm), -EINVAL);
	set("busy=1");
	assert_int_equal(enable_cap(target, GP_CAP_MOVE_ENC_CONTEXT, (uint64_t)guest.vm), -EBUSY);
	assert_int_equal(enable_cap(target, GP_CAP_MOVE_ENC_CONTEXT, (uint64_t)guest.vm), 0);
	assert_int_equal(use().sev_used, 1);
	assert_int_equal(gm_platform_digest(target, after), 32);
	assert_memory_equal(before, after, 32);
	/* The source is dead. */
	assert_int_equal(enable_cap(guest.vm, GP_CAP_MOVE_ENC_CONTEXT, (uint64_t)target), -EIO);
	guest_close(&guest);
	assert_int_equal(use().sev_used, 1);
	assert_int_equal(close(target), 0);
	assert_int_equal(close(other), 0);
}

static void a_context_moves_once_and_leaves_its_source_dead(void **state)
{
	(void)state;
	on_each_version(V6_11, move);
}

/* sev_check_source_vcpus. */
static void move_vcpus(int version)
{
	int target = vm_create(GP_VM_SEV_ES), vcpu;
	struct kvm_regs regs;
	struct guest guest;

	(void)version;
	sev_start(&guest, GP_VM_SEV_ES);
	guest.vcpu = ioctl(guest.vm, KVM_CREATE_VCPU, 0UL);
	assert_int_equal(enable_cap(target, GP_CAP_MOVE_ENC_CONTEXT, (uint64_t)guest.vm), -EINVAL);
	vcpu = ioctl(target, KVM_CREATE_VCPU, 0UL);
	assert_int_equal(enable_cap(target, GP_CAP_MOVE_ENC_CONTEXT, (uint64_t)guest.vm), -EINVAL);
	assert_int_equal(sev_command(guest.vm, GP_SEV_LAUNCH_UPDATE_VMSA, NULL, -1, NULL), 0);
	assert_int_equal(enable_cap(target, GP_CAP_MOVE_ENC_CONTEXT, (uint64_t)guest.vm), 0);
	assert_int_equal(request(vcpu, KVM_GET_REGS, &regs), -EINVAL);
	guest_close(&guest);
	assert_int_equal(close(vcpu), 0);
	assert_int_equal(close(target), 0);
}

static void vcpus_that_move_are_as_many_and_measured(void **state)
{
	(void)state;
	on_each_version(V6_11, move_vcpus);
}

/* sev_vm_copy_enc_context_from, is_cmd_allowed_from_mirror; the id stays as long as either. */
static void mirror(int version)
{
	int target = vm_create(GP_VM_SEV), second = vm_create(GP_VM_SEV);
	struct gp_sev_status status;
	struct gp_sev_start start = { 0 };
	struct guest guest;
	int sev;

	(void)version;
	sev_start(&guest, GP_VM_SEV);
	sev = fcntl(guest.sev, F_DUPFD_CLOEXEC, 0);
	assert_int_equal(enable_cap(target, GP_CAP_COPY_ENC_CONTEXT, (uint64_t)guest.vm), 0);
	assert_int_equal(use().sev_used, 1);
	assert_int_equal(enable_cap(second, GP_CAP_COPY_ENC_CONTEXT, (uint64_t)target), -EINVAL);
	assert_int_equal(sev_command(target, GP_SEV_GUEST_STATUS, &status, -1, NULL), 0);
	assert_int_equal(sev_command(target, GP_SEV_LAUNCH_START, &start, sev, NULL), -EINVAL);
	guest_close(&guest);
	assert_int_equal(use().sev_used, 1);
	assert_int_equal(close(target), 0);
	assert_int_equal(use().sev_used, 0);
	assert_int_equal(close(second), 0);
	assert_int_equal(close(sev), 0);
}

static void a_mirror_may_do_little_and_keeps_its_source(void **state)
{
	(void)state;
	on_each_version(V6_11, mirror);
}

static void no_move(int version)
{
	int target = vm_create(GP_VM_SNP);
	struct guest guest;

	snp_start(&guest, 1);
	assert_int_equal(enable_cap(target, GP_CAP_MOVE_ENC_CONTEXT, (uint64_t)guest.vm), -EINVAL);
	assert_int_equal(enable_cap(target, GP_CAP_COPY_ENC_CONTEXT, (uint64_t)guest.vm), -EINVAL);
	guest_close(&guest);
	assert_int_equal(close(target), 0);
	if (version < V6_16)
		return;
	target = vm_create(GP_VM_TDX);
	td_start(&guest, 1);
	assert_int_equal(enable_cap(target, GP_CAP_MOVE_ENC_CONTEXT, (uint64_t)guest.vm), -EINVAL);
	guest_close(&guest);
	assert_int_equal(close(target), 0);
}

static void a_context_with_private_memory_stays(void **state)
{
	(void)state;
	on_each_version(V6_11, no_move);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		gm_test(an_id_is_taken_at_init_and_free_after_close),
		gm_test(a_guest_memfd_keeps_the_id_of_its_vm),
		gm_test(an_fd_in_another_process_keeps_the_vm),
		gm_test(a_vm_is_initialised_once_and_by_the_rules),
		gm_test(a_key_id_is_taken_at_init_and_free_after_close),
		gm_test(pinned_memory_is_limited_for_each_vm),
		gm_test(a_sev_launch_goes_through_its_states_in_order),
		gm_test(a_context_moves_once_and_leaves_its_source_dead),
		gm_test(vcpus_that_move_are_as_many_and_measured),
		gm_test(a_mirror_may_do_little_and_keeps_its_source),
		gm_test(a_context_with_private_memory_stays),
	};

	return gm_test_run("model_life", tests, sizeof(tests) / sizeof(*tests));
}
