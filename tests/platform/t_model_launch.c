/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whole launches by bare requests, in the order in which a VMM makes them, on every version. The
 * model's digest is that of backends/measure, which has no line in common with it.
 */
#include <fcntl.h>
#include <sys/ioctl.h>

#include "gm_launch_digest.h"
#include "gm_vmsa.h"
#include "machine.h"

#define SIGNATURE 0x800f12 /* CPUID 1 EAX of the first of those processors */

static void book(struct gm_launch_digest *digest, enum gm_launch_page type, uint64_t gpa,
		 const uint8_t *bytes, size_t size)
{
	const struct gm_launch_range range = { .type = type,
					       .gpa = gpa,
					       .length = size,
					       .bytes = bytes,
					       .n_bytes = bytes ? size : 0 };
	struct gm_refusal refusal = { 0 };

	assert_int_equal(gm_launch_digest_update(digest, &range, 1, &refusal), 0);
}

static void begin(struct gm_launch_digest *digest, enum gm_launch_kind kind)
{
	const struct gm_launch_start start = { .kind = kind };
	struct gm_refusal refusal = { 0 };

	assert_int_equal(gm_launch_digest_start(digest, &start, &refusal), 0);
}

static void assert_same(int vm, struct gm_launch_digest *digest)
{
	uint8_t ours[GM_DIGEST_MAX], models[GM_PLATFORM_DIGEST_MAX];
	struct gm_refusal refusal = { 0 };
	int size = gm_platform_digest(vm, models);

	assert_int_equal(gm_launch_digest_finish(digest, ours, &refusal), 0);
	assert_int_equal(size, gm_launch_digest_size(digest->kind));
	assert_memory_equal(ours, models, (size_t)size);
}

/* Registers as QEMU sets them: read, changed, written. */
static int qemu_vcpu(int vm, unsigned long id, uint32_t eip)
{
	int vcpu = ioctl(vm, KVM_CREATE_VCPU, id);
	struct kvm_sregs sregs;
	struct kvm_regs regs = { .rip = eip & 0xffff, .rflags = 2, .rdx = SIGNATURE };

	assert_true(vcpu >= 0);
	assert_int_equal(request(vcpu, KVM_GET_SREGS, &sregs), 0);
	sregs.cs.base = eip & 0xffff0000;
	sregs.cs.type = 11;
	sregs.ss.type = sregs.ds.type = sregs.es.type = sregs.fs.type = sregs.gs.type = 3;
	sregs.tr.type = 11;
	assert_int_equal(request(vcpu, KVM_SET_SREGS, &sregs), 0);
	assert_int_equal(request(vcpu, KVM_SET_REGS, &regs), 0);
	return vcpu;
}

static void book_vmsa(struct gm_launch_digest *digest, uint64_t features, uint32_t eip, bool boot)
{
	const struct gm_vmsa_spec spec = { .vmm = GM_VMM_QEMU,
					   .boot = boot,
					   .eip = eip,
					   .rdx = SIGNATURE,
					   .sev_features = features,
					   .fpu = GM_FPU_RESET };
	uint8_t page[GM_VMSA_SIZE];

	gm_vmsa_build(&spec, page);
	book(digest, GM_LAUNCH_VMSA, GM_LAUNCH_VMSA_GPA, page, sizeof(page));
}

/* As a VMM has to: until nothing is left. */
static void snp_put(const struct guest *guest, unsigned type, uint64_t gfn, uint8_t *bytes,
		    uint64_t n_pages)
{
	struct gp_snp_update update = { .gfn_start = gfn,
					.uaddr = (uint64_t)(uintptr_t)bytes,
					.len = n_pages * GP_PAGE_SIZE,
					.type = (uint8_t)type };

	while (update.len > 0)
		assert_int_equal(snp_update(guest, &update, NULL), 0);
	assert_int_equal(update.gfn_start, gfn + n_pages);
}

static void snp_launch(int version)
{
	struct gm_launch_digest digest;
	uint8_t *bytes = pages_new(40);
	struct guest guest;
	int ap;

	(void)version;
	begin(&digest, GM_LAUNCH_SNP);
	snp_start(&guest, 64);
	snp_put(&guest, GP_SNP_NORMAL, 0, bytes, 40);
	book(&digest, GM_LAUNCH_NORMAL, 0, bytes, 40 * GP_PAGE_SIZE);
	snp_put(&guest, GP_SNP_ZERO, 40, NULL, 4);
	book(&digest, GM_LAUNCH_ZERO, 40 * GP_PAGE_SIZE, NULL, 4 * GP_PAGE_SIZE);
	snp_put(&guest, GP_SNP_UNMEASURED, 44, bytes, 2);
	book(&digest, GM_LAUNCH_UNMEASURED, 44 * GP_PAGE_SIZE, NULL, 2 * GP_PAGE_SIZE);
	snp_put(&guest, GP_SNP_SECRETS, 46, bytes, 1);
	book(&digest, GM_LAUNCH_SECRETS, 46 * GP_PAGE_SIZE, NULL, GP_PAGE_SIZE);
	snp_put(&guest, GP_SNP_CPUID, 47, bytes, 1);
	book(&digest, GM_LAUNCH_CPUID, 47 * GP_PAGE_SIZE, NULL, GP_PAGE_SIZE);
	guest.vcpu = qemu_vcpu(guest.vm, 0, GM_VMSA_RESET_EIP);
	ap = qemu_vcpu(guest.vm, 1, 0x80b004);
	assert_int_equal(request(guest.vcpu, KVM_RUN, NULL), -EINVAL);
	assert_int_equal(snp_finish(&guest, NULL), 0);
	book_vmsa(&digest, GM_SEV_FEATURE_SNP, GM_VMSA_RESET_EIP, true);
	book_vmsa(&digest, GM_SEV_FEATURE_SNP, 0x80b004, false);
	assert_same(guest.vm, &digest);
	assert_int_equal(request(guest.vcpu, KVM_RUN, NULL), 0);
	assert_int_equal(use().n_assigned, 48);
	assert_int_equal(close(ap), 0);
	guest_close(&guest);
	pages_free(bytes, 40);
}

static void an_snp_launch_has_the_digest_that_is_predicted(void **state)
{
	(void)state;
	on_each_version(V6_11, snp_launch);
}

/* KVM's own reset state, nobody having set a register. */
static void bare_vcpu(int version)
{
	const struct gm_vmsa_spec spec = { .vmm = GM_VMM_KVM,
					   .boot = true,
					   .eip = GM_VMSA_RESET_EIP,
					   .rdx = 0x600,
					   .sev_features = GM_SEV_FEATURE_SNP,
					   .fpu = GM_FPU_RESET };
	struct gm_launch_digest digest;
	uint8_t page[GM_VMSA_SIZE];
	struct guest guest;

	(void)version;
	begin(&digest, GM_LAUNCH_SNP);
	snp_start(&guest, 1);
	guest.vcpu = ioctl(guest.vm, KVM_CREATE_VCPU, 0UL);
	assert_int_equal(snp_finish(&guest, NULL), 0);
	gm_vmsa_build(&spec, page);
	book(&digest, GM_LAUNCH_VMSA, GM_LAUNCH_VMSA_GPA, page, sizeof(page));
	assert_same(guest.vm, &digest);
	guest_close(&guest);
}

static void a_vcpu_that_nobody_set_is_measured_as_kvm_resets_it(void **state)
{
	(void)state;
	on_each_version(V6_11, bare_vcpu);
}

static void td_launch(int version)
{
	struct gm_launch_digest digest;
	uint8_t *bytes = pages_new(8);
	struct gp_tdx_region measured = { (uint64_t)(uintptr_t)bytes, 0, 8 };
	struct gp_tdx_region added = { (uint64_t)(uintptr_t)bytes, 8 * GP_PAGE_SIZE, 2 };
	struct guest guest;

	(void)version;
	begin(&digest, GM_LAUNCH_TDX);
	td_start(&guest, 16);
	assert_int_equal(td_add(&guest, &measured, GP_TDX_MEASURE), 0);
	book(&digest, GM_LAUNCH_NORMAL, 0, bytes, 8 * GP_PAGE_SIZE);
	assert_int_equal(measured.nr_pages, 0);
	assert_int_equal(measured.gpa, 8 * GP_PAGE_SIZE);
	assert_int_equal(td_add(&guest, &added, 0), 0);
	book(&digest, GM_LAUNCH_UNMEASURED, 8 * GP_PAGE_SIZE, NULL, 2 * GP_PAGE_SIZE);
	assert_int_equal(tdx_command(guest.vm, GP_TDX_FINALIZE_VM, 0, NULL), 0);
	assert_same(guest.vm, &digest);
	assert_int_equal(request(guest.vcpu, KVM_RUN, NULL), 0);
	guest_close(&guest);
	pages_free(bytes, 8);
}

static void a_td_launch_has_the_digest_that_is_predicted(void **state)
{
	(void)state;
	on_each_version(V6_16, td_launch);
}

static void sev_launch(unsigned long type)
{
	bool es = type == GP_VM_SEV_ES;
	struct gm_launch_digest digest;
	uint8_t *bytes = pages_new(8), blob[48];
	struct gp_sev_blob data = { .uaddr = (uint64_t)(uintptr_t)bytes, .len = 8 * GP_PAGE_SIZE };
	struct gp_sev_blob measure = { .uaddr = (uint64_t)(uintptr_t)blob, .len = sizeof(blob) };
	struct kvm_enc_region region = { .addr = data.uaddr, .size = data.len };
	struct gp_sev_status status;
	struct guest guest;

	begin(&digest, es ? GM_LAUNCH_SEV_ES : GM_LAUNCH_SEV);
	book(&digest, GM_LAUNCH_NORMAL, 0, bytes, 8 * GP_PAGE_SIZE);
	sev_start(&guest, type);
	assert_int_equal(request(guest.vm, KVM_MEMORY_ENCRYPT_REG_REGION, &region), 0);
	assert_int_equal(sev_command(guest.vm, GP_SEV_LAUNCH_UPDATE_DATA, &data, guest.sev, NULL),
			 0);
	assert_int_not_equal(bytes[0], 1); /* encrypted where it lies */
	if (es) {
		guest.vcpu = qemu_vcpu(guest.vm, 0, GM_VMSA_RESET_EIP);
		assert_int_equal(
			sev_command(guest.vm, GP_SEV_LAUNCH_UPDATE_VMSA, NULL, guest.sev, NULL), 0);
		book_vmsa(&digest, 0, GM_VMSA_RESET_EIP, true);
	}
	assert_int_equal(sev_command(guest.vm, GP_SEV_LAUNCH_MEASURE, &measure, guest.sev, NULL),
			 0);
	assert_int_equal(sev_command(guest.vm, GP_SEV_LAUNCH_FINISH, NULL, guest.sev, NULL), 0);
	assert_int_equal(sev_command(guest.vm, GP_SEV_GUEST_STATUS, &status, guest.sev, NULL), 0);
	assert_int_equal(status.state, 3);
	assert_same(guest.vm, &digest);
	guest_close(&guest);
	pages_free(bytes, 8);
}

static void plain_sev(int version)
{
	(void)version;
	sev_launch(GP_VM_SEV);
}

static void sev_with_encrypted_state(int version)
{
	(void)version;
	sev_launch(GP_VM_SEV_ES);
}

static void a_sev_launch_has_the_digest_that_is_predicted(void **state)
{
	(void)state;
	on_each_version(V6_11, plain_sev);
}

static void a_sev_es_launch_has_the_digest_that_is_predicted(void **state)
{
	(void)state;
	on_each_version(V6_11, sev_with_encrypted_state);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		gm_test(an_snp_launch_has_the_digest_that_is_predicted),
		gm_test(a_vcpu_that_nobody_set_is_measured_as_kvm_resets_it),
		gm_test(a_td_launch_has_the_digest_that_is_predicted),
		gm_test(a_sev_launch_has_the_digest_that_is_predicted),
		gm_test(a_sev_es_launch_has_the_digest_that_is_predicted),
	};

	return gm_test_run("model_launch", tests, sizeof(tests) / sizeof(*tests));
}
