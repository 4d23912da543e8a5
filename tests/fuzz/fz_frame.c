/* SPDX-License-Identifier: Apache-2.0 */
/* A frame that decodes encodes to the same bytes, and stays within its limits. */
#include <string.h>

#include "gm_fdset.h"
#include "gm_frame.h"
#include "gm_fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t again[GM_FRAME_HEADER_SIZE];
	struct gm_frame frame;
	enum gm_frame_fault fault = gm_frame_decode(data, size, &frame);

	gm_fuzz_require(gm_frame_fault_text(fault));
	if (fault != GM_FRAME_GOOD)
		return 0;
	gm_fuzz_require(frame.body_length == size - GM_FRAME_HEADER_SIZE);
	gm_fuzz_require(frame.body_length <= GM_BODY_MAX);
	gm_fuzz_require(frame.n_fds <= GM_FDSET_MAX);
	gm_frame_encode(&frame, again);
	gm_fuzz_require(memcmp(again, data, sizeof(again)) == 0);
	return 0;
}
