/* SPDX-License-Identifier: Apache-2.0 */
/* Firmware images for tests, made entry by entry; and hex. */
#ifndef FIRMWARE_IMAGE_H
#define FIRMWARE_IMAGE_H

#include "gm_firmware.h"
#include "gm_guid.h"

#define IMAGE_SIZE 8192
#define IMAGE_SEV_AT 0x1000 /* where tests put metadata: offsets from the image's start */
#define IMAGE_TDVF_AT 0x1400

extern const uint8_t guid_reset[GM_GUID_SIZE];
extern const uint8_t guid_hashes[GM_GUID_SIZE];
extern const uint8_t guid_sev[GM_GUID_SIZE];
extern const uint8_t guid_tdvf[GM_GUID_SIZE];

struct image {
	uint8_t bytes[IMAGE_SIZE];
	size_t table_size; /* of the entries that were added */
};

/* Nothing but a table without entries. */
void image_init(struct image *image);
void image_add(struct image *image, const uint8_t guid[GM_GUID_SIZE], const void *data,
	       size_t size);
void image_add_number(struct image *image, const uint8_t guid[GM_GUID_SIZE], uint32_t number);

/* Sections as edk2's image has them: memory, secrets, CPUID, kernel hashes; reset block, hash
 * table. */
void image_fill(struct image *image);

/* The @i-th section of SEV metadata at IMAGE_SEV_AT, whose header counts @n. */
void image_sev(struct image *image, uint32_t n);
void image_sev_section(struct image *image, size_t i, uint32_t gpa, uint32_t size, uint32_t type);

struct gm_bytes image_view(const struct image *image);

void from_hex(const char *hex, uint8_t *bytes);
void assert_hex(const uint8_t *bytes, const char *hex);

#endif
