/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SEV and SEV-ES: the daemon has the firmware's commands to itself, and makes them all at the end.
 * What is left to a VMM is to ask for the wrong thing, and to have the wrong VM to take it over.
 */
#include "rules.h"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "client.h"

static int start_with(struct vmm *vmm, const struct gmem_sev_start *parameters)
{
	return gmem_launch_start(vmm->domain, parameters, sizeof(*parameters));
}

static int with_half_the_parameters(struct vmm *vmm)
{
	return gmem_launch_start(vmm->domain, &(uint64_t){ 1 }, sizeof(uint64_t));
}

static int with_reserved_parameters(struct vmm *vmm)
{
	return start_with(vmm, &(struct gmem_sev_start){ .policy = 1, .reserved = { 1 } });
}

static int with_a_session_that_is_not_there(struct vmm *vmm)
{
	return start_with(vmm, &(struct gmem_sev_start){ .policy = 1, .session_size = 4096 });
}

static int put_and_finish(struct vmm *vmm)
{
	int r;

	vmm_make_region(vmm);
	r = vmm_put(vmm, GMEM_PAGE_TYPE_NORMAL, 0, 4);
	return r < 0 ? r : vmm_finish(vmm);
}

static int with_unknown_features(struct vmm *vmm)
{
	const struct gmem_sev_start sev = { .policy = vmm->kind == SEV_ES ? 5 : 1,
					    .vmsa_features = UINT64_C(1) << 40 };
	int r = start_with(vmm, &sev);

	if (vmm->kind == SEV_ES)
		vmm_add_vcpu(vmm);
	return r < 0 ? r : put_and_finish(vmm);
}

/* ---- what goes in */

static int populate(struct vmm *vmm)
{
	return vmm_put(vmm, GMEM_PAGE_TYPE_NORMAL, 8, 1);
}

static int before_the_start(struct vmm *vmm)
{
	vmm_make_region(vmm);
	return populate(vmm);
}

static int twice(struct vmm *vmm)
{
	return vmm_put(vmm, GMEM_PAGE_TYPE_NORMAL, 3, 2);
}

static int zeros(struct vmm *vmm)
{
	return vmm_put(vmm, GMEM_PAGE_TYPE_ZERO, 8, 1);
}

static int unmeasured(struct vmm *vmm)
{
	return vmm_put(vmm, GMEM_PAGE_TYPE_UNMEASURED, 8, 1);
}

static int half_a_page(struct vmm *vmm)
{
	return gmem_region_populate(vmm->region, &(struct gmem_population){
							 .length = 100,
							 .source = vmm->source,
						 });
}

static int from_the_region_itself(struct vmm *vmm)
{
	gmem_source *source;

	return gmem_source_from_fd(vmm->domain, gmem_region_fd(vmm->region), &source);
}

/* ---- the end */

static int with_no_id_left(struct vmm *vmm)
{
	int r;

	set("full=1");
	r = vmm_finish(vmm);
	set("full=0");
	return r;
}

static int refused(struct vmm *vmm)
{
	set("firmware-error=7");
	return vmm_finish(vmm);
}

static int without_its_vcpus(struct vmm *vmm)
{
	return gmem_launch_finish(vmm->domain, NULL);
}

static int with_more_vcpus_than_the_vm(struct vmm *vmm)
{
	return gmem_launch_finish(vmm->domain,
				  &(struct gmem_launch_end){ .vcpus = { .how = GMEM_VCPUS_MODEL,
									.count = 2,
									.vmm = "qemu",
									.signature = 0x800f12 } });
}

static int take_over_by(struct vmm *vmm, unsigned long type)
{
	int kvm = open("/dev/kvm", O_RDONLY | O_CLOEXEC);

	int vm = ioctl(kvm, KVM_CREATE_VM, type);

	/* Under the number of the one that was adopted. */
	must(vm >= 0 && dup3(vm, vmm->vm, O_CLOEXEC) >= 0, "another VM");
	(void)close(vm);
	(void)close(kvm);
	return vmm_finish(vmm);
}

static int by_a_vm_of_the_other_type(struct vmm *vmm)
{
	return take_over_by(vmm, vmm->kind == SEV ? GP_VM_SEV_ES : GP_VM_SEV);
}

static int by_an_unprotected_vm(struct vmm *vmm)
{
	return take_over_by(vmm, GP_VM_SW_PROTECTED);
}

static int by_a_vm_of_the_next_platform(struct vmm *vmm)
{
	return take_over_by(vmm, GP_VM_SNP);
}

static int by_a_vm_that_is_launched(struct vmm *vmm)
{
	struct gp_sev_init init = { 0 };

	must(raw_sev(vmm, GP_SEV_INIT2, &init) == 0, "SEV_INIT2");
	return vmm_finish(vmm);
}

static int with_host_data(struct vmm *vmm)
{
	static const uint8_t host_data[GMEM_HOST_DATA_SIZE];

	return gmem_launch_finish(vmm->domain, &(struct gmem_launch_end){ .host_data = host_data });
}

static int when_vcpus_are_being_made(struct vmm *vmm)
{
	set("busy=1");
	return vmm_finish(vmm);
}

#define MOVE "sev_vm_move_enc_context_from: "

const struct rule sev_rules[] = {
	{ "start with half the parameters", "copy_from_user of the whole struct", ADOPTED,
	  with_half_the_parameters, OWN, GMEM_INVALID, "flags", "ready" },
	{ "start with reserved parameters", "flags and reserved fields are zero, EINVAL", ADOPTED,
	  with_reserved_parameters, OWN, GMEM_INVALID, "flags", "ready" },
	{ "start with a session that is not there", "psp_copy_user_blob: EINVAL or EFAULT", ADOPTED,
	  with_a_session_that_is_not_there, OWN, GMEM_INVALID, "flags", "ready" },
	{ "start with features of vCPUs that are not protected", "__sev_guest_init: EINVAL",
	  ADOPTED, with_unknown_features, SEV, GMEM_INVALID, "flags", "ready" },
	{ "launch with features that KVM does not know", "__sev_guest_init: EINVAL", ADOPTED,
	  with_unknown_features, SEV_ES, GMEM_FAILED, "firmware", "failed" },
	{ "start twice", "LAUNCH_START: the firmware's state", STARTED, vmm_start, OWN,
	  GMEM_WRONG_STATE, "launch-state", "open" },

	{ "populate before the start", "LAUNCH_UPDATE_DATA: the firmware's state", ADOPTED,
	  before_the_start, OWN, GMEM_WRONG_STATE, "launch-state", "ready" },
	{ "populate a page twice", "encrypted twice in place: the guest reads neither", POPULATED,
	  twice, OWN, GMEM_WRONG_STATE, "page-state", "open" },
	{ "populate zeros", "LAUNCH_UPDATE_DATA has one type", BOUND, zeros, OWN, GMEM_INVALID,
	  "flags", "open" },
	{ "populate without measuring", "LAUNCH_UPDATE_DATA has one type", BOUND, unmeasured, OWN,
	  GMEM_INVALID, "flags", "open" },
	{ "populate half a page", "16 bytes are enough for the firmware, not for the books", BOUND,
	  half_a_page, OWN, GMEM_INVALID, "size", "open" },
	{ "populate from the region itself", "it is encrypted where it lies", BOUND,
	  from_the_region_itself, OWN, GMEM_INVALID, "source", "open" },

	{ "finish what was not started", "LAUNCH_FINISH: the firmware's state", ADOPTED, vmm_finish,
	  OWN, GMEM_WRONG_STATE, "launch-state", "ready" },
	{ "finish twice", "LAUNCH_FINISH: the firmware's state", FINISHED, vmm_finish, OWN,
	  GMEM_WRONG_STATE, "launch-state", "running" },
	{ "populate what is finished", "LAUNCH_UPDATE_DATA: the firmware's state", FINISHED, zeros,
	  OWN, GMEM_WRONG_STATE, "launch-state", "running" },
	{ "launch when no id is left", "sev_asid_new: EBUSY", POPULATED, with_no_id_left, OWN,
	  GMEM_NO_RESOURCE, "firmware", "failed" },
	{ "launch what the firmware refuses", "sev_issue_cmd: EIO with the firmware's code",
	  POPULATED, refused, OWN, GMEM_FAILED, "firmware", "failed" },
	{ "launch without telling of vCPUs", "LAUNCH_UPDATE_VMSA of each", POPULATED,
	  without_its_vcpus, SEV_ES, GMEM_INVALID, "flags", "open" },
	{ "launch with host data", "LAUNCH_FINISH has none", POPULATED, with_host_data, OWN,
	  GMEM_INVALID, "size", "open" },
	{ "launch more vCPUs than the VM has", MOVE "online vCPUs differ, EINVAL", POPULATED,
	  with_more_vcpus_than_the_vm, SEV_ES, GMEM_FAILED, "firmware", "failed" },
	{ "take over by a VM of the other type", MOVE "types differ, EINVAL", POPULATED,
	  by_a_vm_of_the_other_type, OWN, GMEM_FAILED, "firmware", "failed" },
	{ "take over by an unprotected VM", MOVE "types differ, EINVAL", POPULATED,
	  by_an_unprotected_vm, OWN, GMEM_FAILED, "firmware", "failed" },
	{ "take over by a VM with private memory", MOVE "types differ, EINVAL", POPULATED,
	  by_a_vm_of_the_next_platform, OWN, GMEM_FAILED, "firmware", "failed" },
	{ "take over by a VM that is initialised", MOVE "sev_guest(kvm), EINVAL", POPULATED,
	  by_a_vm_that_is_launched, SEV, GMEM_FAILED, "firmware", "failed" },
	{ "launch while the firmware is busy", "sev_lock_two_vms: EBUSY; RESOURCE_LIMIT", POPULATED,
	  when_vcpus_are_being_made, OWN, GMEM_OK, "", "running" },
};
const size_t n_sev_rules = GM_ARRAY_SIZE(sev_rules);
