/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tinyvmm as a VMM for confidential guests: everything from an image of the firmware to a guest
 * that may run, with what differs between platforms in one file each. Such guests are not run:
 * tinyvmm has no firmware of its own that could.
 */
#ifndef TINYVMM_LAUNCH_H
#define TINYVMM_LAUNCH_H

#include "tinyvmm.h"

#define PAGE_SIZE 4096ull
#define VCPUS_MAX 64 /* of the options */

/* The firmware's image ends here, and so at the reset vector. */
#define FIRMWARE_TOP (1ull << 32)

struct launch {
	const struct options *options;
	const struct platform *platform;
	gmem_client *client;
	gmem_domain *domain;
	gmem_region *ram;
	gmem_region *rom; /* where the firmware is */
	gmem_source *firmware;
	struct image image;
	int vm_fd;
	int vcpu_fds[VCPUS_MAX];
	struct gmem_launch_end end;
};

struct platform {
	const char *kind;
	unsigned long vm_type;
	int (*start)(struct launch *launch);
	/* The vCPUs, where they are made before memory is populated. May be NULL. */
	int (*prepare)(struct launch *launch);
	/* Memory into the VM, where it is not gmem_region_bind's. May be NULL. */
	int (*bind)(struct launch *launch, gmem_region *region, uint32_t slot);
	int (*populate)(struct launch *launch);
	/* The vCPUs, where they are made last, and what is said of them. May be NULL. */
	int (*complete)(struct launch *launch);
};

extern const struct platform launch_sev;
extern const struct platform launch_sev_es;
extern const struct platform launch_snp;
extern const struct platform launch_tdx;

/* All return 0, or -1 and the reason is printed. */

int launch_complain(const struct launch *launch, const char *what);
int launch_complain_errno(const char *what);
int launch_fault(const char *what);

int launch_add_vcpu(struct launch *launch, unsigned index);

/*
 * Puts [@gpa, @gpa + @length) into the guest, from @bytes with zeros after them, or for types
 * without a source from nothing.
 */
int launch_put(struct launch *launch, enum gmem_page_type type, uint64_t gpa, uint64_t length,
	       const void *bytes, size_t n_bytes);
/* The same from the image. */
int launch_put_image(struct launch *launch, enum gmem_page_type type, uint64_t gpa, uint64_t length,
		     uint64_t offset);

/*
 * The entry of the table at the end of the firmware's image (OvmfPkg/ResetVector), by its GUID as
 * it lies in memory; NULL when there is none. *ret_size: of the data that it points to.
 */
const uint8_t *image_entry(const struct image *image, const uint8_t guid[16], size_t *ret_size);
uint32_t image_le32(const uint8_t *at);
uint64_t image_le64(const uint8_t *at);
/*
 * The list of sections that the entry @guid leads to: @signature, length, version, count, and
 * @count times @section_size bytes. NULL when there is none that lies in the image.
 */
const uint8_t *image_sections(const struct image *image, const uint8_t guid[16],
			      const char signature[4], size_t section_size, uint32_t *ret_count);

#endif
