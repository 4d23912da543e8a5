/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Populating a page: when it may be done, what is copied back, what each version answers. Functions
 * are those of the kernel that have the rule.
 */
#include <fcntl.h>
#include <sys/mman.h>

#include "machine.h"

static struct gp_snp_update update_of(const uint8_t *bytes, uint64_t gfn, uint64_t n_pages,
				      unsigned type)
{
	return (struct gp_snp_update){ .gfn_start = gfn,
				       .uaddr = (uint64_t)(uintptr_t)bytes,
				       .len = n_pages * GP_PAGE_SIZE,
				       .type = (uint8_t)type };
}

static int put(const struct guest *guest, const uint8_t *bytes, uint64_t gfn, unsigned type)
{
	struct gp_snp_update update = update_of(bytes, gfn, 1, type);

	return snp_update(guest, &update, NULL);
}

static void digest_of(const struct guest *guest, uint8_t digest[GM_PLATFORM_DIGEST_MAX])
{
	assert_true(gm_platform_digest(guest->vm, digest) > 0);
}

/* snp_launch_update: any failure to populate is EIO, with the firmware's code or none. */
static void conditions(int version)
{
	uint8_t *bytes = pages_new(2);
	struct gp_snp_update update;
	struct guest guest;
	uint32_t error = 99;

	snp_start(&guest, 8);
	assert_int_equal(put(&guest, bytes, 100, GP_SNP_NORMAL), -EINVAL); /* no slot */
	assert_int_equal(put(&guest, bytes, 0, GP_SNP_VMSA), -EINVAL);
	assert_int_equal(put(&guest, bytes, 0, 7), -EINVAL);
	update = update_of(bytes, 0, 0, GP_SNP_NORMAL);
	assert_int_equal(snp_update(&guest, &update, NULL), -EINVAL);
	update = update_of(bytes, 0, 1, GP_SNP_NORMAL);
	update.flags = 1;
	assert_int_equal(snp_update(&guest, &update, NULL), -EINVAL);
	assert_int_equal(attributes_set(guest.vm, 0, GP_PAGE_SIZE, false), 0);
	assert_int_equal(put(&guest, bytes, 0, GP_SNP_NORMAL), -EIO); /* not private */
	assert_int_equal(attributes_set(guest.vm, 0, GP_PAGE_SIZE, true), 0);
	/* A source between two pages was good up to 6.19. */
	assert_int_equal(put(&guest, bytes + 16, 0, GP_SNP_NORMAL), version >= V7_0 ? -EINVAL : 0);
	assert_int_equal(put(&guest, bytes, 1, GP_SNP_NORMAL), 0);
	update = update_of(bytes, 1, 1, GP_SNP_NORMAL);
	assert_int_equal(snp_update(&guest, &update, &error), -EIO); /* twice */
	assert_int_equal(error, 0);
	assert_int_equal(put(&guest, NULL, 2, GP_SNP_NORMAL), -EIO); /* no source */
	guest_close(&guest);
	pages_free(bytes, 2);
}

static void a_page_is_populated_once_private_and_from_a_source(void **state)
{
	(void)state;
	on_each_version(V6_11, conditions);
}

/* kvm_gmem_fallocate does not set uptodate (6.11). */
static void allocated(int version)
{
	uint8_t *bytes = pages_new(1);
	struct guest guest;

	(void)version;
	snp_start(&guest, 2);
	assert_int_equal(fallocate(guest.gmem, FALLOC_FL_KEEP_SIZE, 0, (off_t)(2 * GP_PAGE_SIZE)),
			 0);
	assert_int_equal(put(&guest, bytes, 0, GP_SNP_NORMAL), 0);
	guest_close(&guest);
	pages_free(bytes, 1);
}

static void allocation_is_not_population(void **state)
{
	(void)state;
	on_each_version(V6_11, allocated);
}

/* kvm_gmem_punch_hole: the page is free again; the chain of the digest has no way back. */
static void punched(int version)
{
	uint8_t *bytes = pages_new(1), once[GM_PLATFORM_DIGEST_MAX], twice[GM_PLATFORM_DIGEST_MAX];
	struct guest guest;

	(void)version;
	snp_start(&guest, 2);
	assert_int_equal(put(&guest, bytes, 0, GP_SNP_NORMAL), 0);
	digest_of(&guest, once);
	assert_int_equal(fallocate(guest.gmem, FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE, 0,
				   (off_t)GP_PAGE_SIZE),
			 0);
	assert_int_equal(use().n_assigned, 0);
	assert_int_equal(put(&guest, bytes, 0, GP_SNP_NORMAL), 0);
	digest_of(&guest, twice);
	assert_memory_not_equal(once, twice, sizeof(once));
	guest_close(&guest);
	pages_free(bytes, 1);
}

static void a_page_that_is_punched_and_populated_again_is_measured_twice(void **state)
{
	(void)state;
	on_each_version(V6_11, punched);
}

/* snp_launch_update copies back how far it came: short, by a signal, at the end of the slot. */
static void progress(int version)
{
	uint8_t *bytes = pages_new(8);
	struct gp_snp_update update = update_of(bytes, 0, 8, GP_SNP_NORMAL);
	struct guest guest;

	(void)version;
	snp_start(&guest, 8);
	set("short=3");
	assert_int_equal(snp_update(&guest, &update, NULL), 0);
	assert_int_equal(update.gfn_start, 3);
	assert_int_equal(update.len, 5 * GP_PAGE_SIZE);
	assert_int_equal(update.uaddr, (uint64_t)(uintptr_t)bytes + 3 * GP_PAGE_SIZE);
	set("short=0");
	set("interrupt=2");
	assert_int_equal(snp_update(&guest, &update, NULL), 0);
	assert_int_equal(update.gfn_start, 5);
	set("interrupt=0");
	assert_int_equal(snp_update(&guest, &update, NULL), -EIO);
	assert_int_equal(update.gfn_start, 5);
	update.len = 16 * GP_PAGE_SIZE;
	assert_int_equal(snp_update(&guest, &update, NULL), 0);
	assert_int_equal(update.gfn_start, 8);
	guest_close(&guest);
	pages_free(bytes, 8);
}

static void progress_is_copied_back(void **state)
{
	(void)state;
	on_each_version(V6_11, progress);
}

/* sev_mem_enc_ioctl: the envelope goes back whatever happened. */
static void read_only(int version)
{
	struct gp_sev_cmd *cmd = mmap(NULL, GP_PAGE_SIZE, PROT_READ | PROT_WRITE,
				      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	uint8_t *bytes = pages_new(1);
	struct gp_snp_update update = update_of(bytes, 0, 1, GP_SNP_NORMAL);
	struct guest guest;

	(void)version;
	snp_start(&guest, 1);
	*cmd = (struct gp_sev_cmd){ .id = GP_SNP_LAUNCH_UPDATE,
				    .data = (uint64_t)(uintptr_t)&update,
				    .sev_fd = (uint32_t)guest.sev };
	assert_int_equal(mprotect(cmd, GP_PAGE_SIZE, PROT_READ), 0);
	assert_int_equal(request(guest.vm, GP_ENCRYPT_OP, cmd), -EFAULT);
	assert_int_equal(use().n_assigned, 1);
	assert_int_equal(update.len, 0);
	guest_close(&guest);
	assert_int_equal(munmap(cmd, GP_PAGE_SIZE), 0);
	pages_free(bytes, 1);
}

static void a_read_only_argument_is_efault_after_the_effect(void **state)
{
	(void)state;
	on_each_version(V6_11, read_only);
}

/* sev_gmem_post_populate: corrected values come back; kvm_gmem_populate (7.2) pins for write. */
static void cpuid_page(int version)
{
	uint8_t *bytes = pages_new(1), before[GP_PAGE_SIZE];
	struct gp_snp_update update = update_of(bytes, 0, 1, GP_SNP_CPUID);
	struct guest guest;
	uint32_t error;

	snp_start(&guest, 2);
	memcpy(before, bytes, sizeof(before));
	set("correct-cpuid=1");
	assert_int_equal(snp_update(&guest, &update, &error), -EIO);
	assert_int_equal(error, GP_FW_INVALID_PARAM);
	assert_int_equal(update.len, GP_PAGE_SIZE);
	assert_memory_not_equal(bytes, before, sizeof(before));
	assert_int_equal(use().n_assigned, 0);
	assert_int_equal(snp_update(&guest, &update, NULL), 0);
	assert_int_equal(mprotect(bytes, GP_PAGE_SIZE, PROT_READ), 0);
	assert_int_equal(put(&guest, bytes, 1, GP_SNP_CPUID), version >= V7_2 ? -EIO : 0);
	guest_close(&guest);
	pages_free(bytes, 1);
}

static void a_cpuid_page_is_corrected_in_the_source(void **state)
{
	(void)state;
	on_each_version(V6_11, cpuid_page);
}

/* __sev_issue_cmd: by number, in the caller's table, at each command. */
static void by_number(int version)
{
	uint8_t *bytes = pages_new(1);
	struct guest guest;

	(void)version;
	snp_start(&guest, 2);
	assert_int_equal(put(&guest, bytes, 0, GP_SNP_NORMAL), 0);
	assert_int_equal(close(guest.sev), 0);
	assert_int_equal(put(&guest, bytes, 1, GP_SNP_NORMAL), -EIO);
	assert_int_equal(snp_finish(&guest, NULL), -EBADF);
	guest.sev = -1;
	guest_close(&guest);
	pages_free(bytes, 1);
}

static void the_firmware_is_reached_by_an_fd_that_is_still_open(void **state)
{
	(void)state;
	on_each_version(V6_11, by_number);
}

/* snp_launch_finish; the firmware compares with the digest in the ID block. */
static void id_block(int version)
{
	uint8_t block[GP_ID_BLOCK_SIZE] = { 1 }, auth[GP_ID_AUTH_SIZE] = { 0 };
	struct gp_snp_finish finish = { .id_block_en = 1,
					.id_block_uaddr = (uint64_t)(uintptr_t)block,
					.id_auth_uaddr = (uint64_t)(uintptr_t)auth };
	struct guest guest;
	uint32_t error;

	(void)version;
	snp_start(&guest, 1);
	assert_int_equal(sev_command(guest.vm, GP_SNP_LAUNCH_FINISH, &finish, guest.sev, &error),
			 -EIO);
	assert_int_equal(error, GP_FW_BAD_MEASUREMENT);
	digest_of(&guest, block);
	assert_int_equal(sev_command(guest.vm, GP_SNP_LAUNCH_FINISH, &finish, guest.sev, NULL), 0);
	assert_int_equal(put(&guest, block, 0, GP_SNP_ZERO), -EIO);
	guest_close(&guest);
}

static void an_id_block_allows_one_digest(void **state)
{
	(void)state;
	on_each_version(V6_11, id_block);
}

/* tdx_vcpu_init_mem_region, tdx_gmem_post_populate. */
static void td_conditions(int version)
{
	bool pins = version >= V7_0;
	uint8_t *bytes = pages_new(4);
	struct gp_tdx_region region = { (uint64_t)(uintptr_t)bytes, 0, 4 };
	struct guest guest;

	td_start(&guest, 8);
	assert_int_equal(td_add(&guest, &region, 2), -EINVAL);
	set("interrupt=2");
	assert_int_equal(td_add(&guest, &region, GP_TDX_MEASURE), -EINTR);
	assert_int_equal(region.nr_pages, 2);
	assert_int_equal(region.gpa, 2 * GP_PAGE_SIZE);
	set("busy=1");
	assert_int_equal(td_add(&guest, &region, GP_TDX_MEASURE), -EBUSY);
	assert_int_equal(td_add(&guest, &region, GP_TDX_MEASURE), 0);
	region = (struct gp_tdx_region){ (uint64_t)(uintptr_t)bytes, 0, 1 };
	assert_int_equal(td_add(&guest, &region, 0), pins ? -EIO : -EEXIST);
	region = (struct gp_tdx_region){ 0, 5 * GP_PAGE_SIZE, 1 };
	assert_int_equal(td_add(&guest, &region, 0), pins ? -EOPNOTSUPP : -ENOMEM);
	region = (struct gp_tdx_region){ (uint64_t)(uintptr_t)bytes, UINT64_C(1) << 47, 1 };
	assert_int_equal(td_add(&guest, &region, 0), -EINVAL);
	assert_int_equal(tdx_command(guest.vm, GP_TDX_FINALIZE_VM, 0, NULL), 0);
	assert_int_equal(tdx_command(guest.vm, GP_TDX_FINALIZE_VM, 0, NULL), -EINVAL);
	region = (struct gp_tdx_region){ (uint64_t)(uintptr_t)bytes, 6 * GP_PAGE_SIZE, 1 };
	assert_int_equal(td_add(&guest, &region, 0), -EINVAL);
	guest_close(&guest);
	pages_free(bytes, 4);
}

static void a_page_of_a_td_is_added_once_and_before_the_end(void **state)
{
	(void)state;
	on_each_version(V6_16, td_conditions);
}

/* A mirrored page table loses contents with the mapping: a hole, or a conversion. */
static void td_hole(int version)
{
	uint8_t *bytes = pages_new(1);
	struct gp_tdx_region region = { (uint64_t)(uintptr_t)bytes, 0, 1 };
	struct guest guest;

	(void)version;
	td_start(&guest, 2);
	assert_int_equal(td_add(&guest, &region, 0), 0);
	assert_int_equal(attributes_set(guest.vm, 0, GP_PAGE_SIZE, false), 0);
	assert_int_equal(use().n_assigned, 0);
	assert_int_equal(tdx_command(guest.vm, GP_TDX_FINALIZE_VM, 0, NULL), -EINVAL);
	guest_close(&guest);
	pages_free(bytes, 1);
}

static void a_td_that_loses_a_page_before_the_end_is_lost(void **state)
{
	(void)state;
	on_each_version(V6_16, td_hole);
}

/* The file's own page is the source, when conversion is in place and it was filled before. */
static void in_place(int version)
{
	struct gp_attributes2 set2 = { .size = GP_PAGE_SIZE };
	uint8_t copied[GM_PLATFORM_DIGEST_MAX], filled[GM_PLATFORM_DIGEST_MAX];
	uint8_t *bytes = pages_new(1), *map;
	struct guest guest;
	int gmem;

	(void)version;
	snp_start(&guest, 1);
	assert_int_equal(put(&guest, bytes, 0, GP_SNP_NORMAL), 0);
	digest_of(&guest, copied);
	guest_close(&guest);
	snp_start(&guest, 1);
	set("in-place=1");
	assert_int_equal(slot_set(guest.vm, 0, 0, 0, guest.gmem, 0), 0);
	gmem = gmem_create(guest.vm, GP_PAGE_SIZE, GP_GMEM_MMAP);
	assert_true(gmem >= 0);
	assert_int_equal(slot_set(guest.vm, 0, 0, GP_PAGE_SIZE, gmem, 0), 0);
	assert_int_equal(request(gmem, GP_SET_ATTRIBUTES2, &set2), 0);
	map = mmap(NULL, GP_PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, gmem, 0);
	assert_ptr_not_equal(map, MAP_FAILED);
	memcpy(map, bytes, GP_PAGE_SIZE);
	assert_int_equal(put(&guest, NULL, 0, GP_SNP_NORMAL), -EIO); /* still shared */
	set2.attributes = GP_ATTRIBUTE_PRIVATE;
	assert_int_equal(request(gmem, GP_SET_ATTRIBUTES2, &set2), 0);
	assert_int_equal(put(&guest, NULL, 0, GP_SNP_NORMAL), 0);
	digest_of(&guest, filled);
	assert_memory_equal(copied, filled, sizeof(copied));
	assert_int_equal(munmap(map, GP_PAGE_SIZE), 0);
	assert_int_equal(close(gmem), 0);
	guest_close(&guest);
	pages_free(bytes, 1);
}

static void with_in_place_conversion_the_page_itself_is_the_source(void **state)
{
	(void)state;
	on_each_version(V7_2, in_place);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		gm_test(a_page_is_populated_once_private_and_from_a_source),
		gm_test(allocation_is_not_population),
		gm_test(a_page_that_is_punched_and_populated_again_is_measured_twice),
		gm_test(progress_is_copied_back),
		gm_test(a_read_only_argument_is_efault_after_the_effect),
		gm_test(a_cpuid_page_is_corrected_in_the_source),
		gm_test(the_firmware_is_reached_by_an_fd_that_is_still_open),
		gm_test(an_id_block_allows_one_digest),
		gm_test(a_page_of_a_td_is_added_once_and_before_the_end),
		gm_test(a_td_that_loses_a_page_before_the_end_is_lost),
		gm_test(with_in_place_conversion_the_page_itself_is_the_source),
	};

	return gm_test_run("model_populate", tests, sizeof(tests) / sizeof(*tests));
}
