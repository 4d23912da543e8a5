/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The end of a firmware image: its tables, and the guests that are launched by them. What is
 * refused says why; what is taken lies inside the image and apart; the same image gives the same
 * digest.
 */
#include <string.h>

#include "gm_fuzz.h"
#include "gm_guest.h"
#include "gm_tdvf.h"

#define IMAGE_SIZE 8192
#define MEASURED_MAX (256 * GM_KIB) /* metadata may ask for gigabytes of zeros */

static void require_reason(int r, const struct gm_refusal *refusal)
{
	gm_fuzz_require(r == GM_INVALID || r == GM_UNSUPPORTED);
	gm_fuzz_require(refusal->text[0] && strnlen(refusal->text, GM_TEXT_MAX) < GM_TEXT_MAX);
}

static uint64_t check_sections(const struct gm_firmware *firmware)
{
	uint64_t size = 0;

	gm_fuzz_require(firmware->n_sections <= GM_FIRMWARE_SECTIONS_MAX);
	for (size_t i = 0; i < firmware->n_sections; i++) {
		const struct gm_section *section = &firmware->sections[i];

		gm_fuzz_require(section->size > 0 && section->gpa % GM_PAGE_4K == 0);
		gm_fuzz_require((uint64_t)section->gpa + section->size <= GM_FIRMWARE_TOP);
		size += section->size;
	}
	return size;
}

static uint64_t check_tdvf(const struct gm_tdvf *tdvf, struct gm_bytes image)
{
	uint64_t size = 0;

	for (size_t i = 0; i < tdvf->n_sections; i++) {
		const struct gm_bytes *contents = &tdvf->sections[i].contents;

		size += tdvf->sections[i].size;
		gm_fuzz_require(contents->size <= tdvf->sections[i].size);
		if (contents->size > 0)
			gm_fuzz_require(contents->bytes >= image.bytes &&
					contents->bytes + contents->size <=
						image.bytes + image.size);
	}
	return size;
}

static void measure(struct gm_bytes image, enum gm_launch_kind kind, const uint8_t *kernel)
{
	struct gm_guest guest = { .kind = kind,
				  .firmware = image,
				  .vcpus = 2,
				  .has_signature = true,
				  .signature = 0x800f12,
				  .vmm = (enum gm_vmm)(image.bytes[0] % GM_VMM_N_) };
	uint8_t one[GM_DIGEST_MAX], two[GM_DIGEST_MAX];
	struct gm_manifest manifest = { 0 };
	struct gm_refusal refusal = { 0 };
	int r;

	if (kind == GM_LAUNCH_SNP)
		guest.guest_features = GM_SEV_FEATURE_SNP;
	if (kind != GM_LAUNCH_TDX && kernel)
		guest.kernel.kernel = (struct gm_bytes){ kernel, 1 };
	r = gm_guest_measure(&guest, 1, NULL, one, &refusal);
	if (r != 0)
		require_reason(r, &refusal);
	gm_fuzz_require(gm_guest_measure(&guest, 2, &manifest, two, &refusal) == r);
	if (r == 0)
		gm_fuzz_require(memcmp(one, two, gm_launch_digest_size(kind)) == 0);
	gm_manifest_done(&manifest);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static uint8_t bytes[IMAGE_SIZE];
	struct gm_bytes image = { bytes, sizeof(bytes) };
	size_t n = gm_min_u64(size, sizeof(bytes));
	struct gm_refusal refusal = { 0 };
	struct gm_firmware firmware;
	struct gm_tdvf tdvf;
	int r;

	memset(bytes, 0, sizeof(bytes));
	if (n > 0)
		memcpy(bytes + sizeof(bytes) - n, data + size - n, n);
	bytes[0] = size > 0 ? data[0] : 0;
	r = gm_firmware_parse(image, GM_FIRMWARE_TOP, &firmware, &refusal);
	if (r == 0)
		r = gm_firmware_read_sections(&firmware, &refusal);
	if (r != 0)
		require_reason(r, &refusal);
	else if (check_sections(&firmware) <= MEASURED_MAX)
		measure(image, GM_LAUNCH_SNP, bytes[0] & 0x80 ? bytes : NULL);
	measure(image, GM_LAUNCH_SEV_ES, bytes[0] & 0x40 ? bytes : NULL);

	r = gm_tdvf_parse(image, &tdvf, &refusal);
	if (r != 0)
		require_reason(r, &refusal);
	else if (check_tdvf(&tdvf, image) <= MEASURED_MAX)
		measure(image, GM_LAUNCH_TDX, NULL);
	return 0;
}
