/* SPDX-License-Identifier: Apache-2.0 */
#include "sev_device.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "own_fd.h"

/*
 * O_RDONLY: KVM looks at the file operations only, and what changes the platform needs write
 * (sev_ioctl in drivers/crypto/ccp/sev-dev.c). What is left to a reader besides launches is to
 * look, and SNP_COMMIT.
 */
int gm_sev_device_open(int *ret_fd, char *ret_reason, size_t reason_size)
{
	int fd = open("/dev/sev", O_RDONLY | O_CLOEXEC | O_NOCTTY);

	fd = fd < 0 ? -errno : gm_own_fd(fd);
	if (fd < 0) {
		(void)snprintf(ret_reason, reason_size, "/dev/sev: %s", strerror(-fd));
		return fd;
	}
	*ret_fd = fd;
	return 0;
}
