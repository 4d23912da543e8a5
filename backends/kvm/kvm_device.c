/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "backend.h"
#include "gm_cleanup.h"
#include "kvm_ioctl.h"
#include "own_fd.h"

/*
 * O_RDONLY is enough for every request, and keeps what is handed to VMMs at its least. The fd is
 * a licence to create VMs in the holder's own address space, nothing more.
 */
int gm_kvm_device_open(int *ret_fd, char *ret_reason, size_t reason_size)
{
	_gm_close_ int fd = -1;
	int r;

	fd = open("/dev/kvm", O_RDONLY | O_CLOEXEC | O_NOCTTY);
	if (fd < 0) {
		r = -errno;
		(void)snprintf(ret_reason, reason_size, "/dev/kvm: %s", strerror(-r));
		return r;
	}
	r = gm_own_fd(gm_take_fd(&fd));
	if (r < 0) {
		(void)snprintf(ret_reason, reason_size, "/dev/kvm: %s", strerror(-r));
		return r;
	}
	fd = r;
	r = gm_kvm_api_version(fd);
	if (r != GM_KVM_API_VERSION) {
		r = r < 0 ? r : -ENOTTY;
		(void)snprintf(ret_reason, reason_size, "/dev/kvm is not KVM: %s", strerror(-r));
		return r;
	}
	*ret_fd = gm_take_fd(&fd);
	return 0;
}
