/* SPDX-License-Identifier: Apache-2.0 */
/* The way to the firmware: by an fd number, and with the faults that were asked for. */
#include <errno.h>

#include "state.h"

int gp_firmware_fail(uint32_t *error, enum gp_firmware code)
{
	*error = code;
	return -EIO;
}

/*
 * __sev_issue_cmd: the number is looked up in the caller's table at each command, and only the
 * driver's file operations are looked at, not the open mode (sev_issue_cmd_external_user).
 */
int gp_firmware_call(int sev_fd, uint32_t *error)
{
	struct gp_faults *faults = &gp_state->faults;
	uint32_t index, code = faults->firmware_error;

	if (gp_fd_find(sev_fd, &index) != GP_FD_SEV)
		return -EBADF;
	if (faults->busy > 0) {
		faults->busy--;
		return gp_firmware_fail(error, GP_FW_RESOURCE_LIMIT);
	}
	faults->firmware_error = 0;
	*error = code;
	return code != 0 ? -EIO : 0;
}
