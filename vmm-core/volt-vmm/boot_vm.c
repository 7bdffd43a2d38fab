/* SPDX-License-Identifier: Apache-2.0 */
/* Owns `volt-vmm run`: a machine that boots a kernel. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>

#include "base/util.h"
#include "boot/boot.h"
#include "boot/cpuid.h"
#include "default_cmdline.h"
#include "virtio/virtio_layout.h"
#include "volt-vmm/disk_source.h"
#include "volt-vmm/net_source.h"
#include "volt-vmm/program.h"
#include "volt-vmm/vm_process.h"

/* Those of program_run beside the disk's and the control group's. */
#define BOOT_FDS 11u

struct boot_files {
    int kernel_fd, initrd_fd, log_fd, cpu_template_fd;
};

struct cpuid_list {
    struct kvm_cpuid2 head;
    struct kvm_cpuid_entry2 entry[VM_CPUID_MAX];
};

/* What is made while the process goes into its sandbox, and of what. */
struct making {
    const struct options *options;
    struct kvm_host kvm;
    struct boot_files files;
    struct disk_source disk;
    struct net_source net;
    struct guest_fill fill; /* the device thread works on it */
    struct vm_process process;
    struct cpuid_list supported; /* what KVM can give a guest */
};

static int open_file(const char *path, int flags, int *ret_fd, struct err *err)
{
    if (!path)
        return 0;
    *ret_fd = open(path, flags | O_CLOEXEC | O_NOCTTY, 0600);
    return *ret_fd < 0 ? err_set_errno(err, errno, "opening '%s'", path) : 0;
}

static int open_files(const struct options *options, struct boot_files *files, struct err *err)
{
    int rc;

    files->kernel_fd = options->kernel_fd;
    files->initrd_fd = options->initrd_fd;
    rc = open_file(options->kernel, O_RDONLY, &files->kernel_fd, err);
    if (rc == 0)
        rc = open_file(options->initrd, O_RDONLY, &files->initrd_fd, err);
    if (rc == 0)
        rc = open_file(options->cpu_template, O_RDONLY, &files->cpu_template_fd, err);
    if (rc == 0)
        rc = open_file(options->console_log, O_WRONLY | O_CREAT | O_APPEND, &files->log_fd, err);
    if (rc == 0 && options->console_fd >= 0)
        files->log_fd = options->console_fd;
    return rc;
}

/* ---- CPUs ---- */

static int read_cpu_template(int fd, const char *path, struct cpuid_template *ret_template,
                             struct err *err)
{
    char text[16384];
    ssize_t bytes = read(fd, text, sizeof text);
    if (bytes < 0 || bytes == sizeof text)
        return err_set(err, EINVAL, "'%s': not a CPU template (at most %zu bytes)", path,
                       sizeof text - 1);
    int rc = cpuid_template_parse(text, (size_t)bytes, ret_template, err);
    return rc < 0 ? err_wrap(err, "'%s'", path) : 0;
}

static int set_xcr0(struct vm *vm, uint32_t index, uint64_t xcr0, struct err *err)
{
    const struct kvm_xcrs xcrs = { .nr_xcrs = 1, .xcrs = { { .xcr = 0, .value = xcr0 } } };

    if (xcr0 && ioctl(vm->vcpu[index].fd, KVM_SET_XCRS, &xcrs) < 0)
        return err_set_errno(err, errno, "KVM_SET_XCRS of vCPU %u", index);
    return 0;
}

static int set_cpuids(struct vm *vm, const struct cpuid_list *supported,
                      const struct options *options, int cpu_template_fd, struct err *err)
{
    struct cpuid_template cpu_template;
    struct cpuid_list cpuid;
    int rc = 0;

    if (options->cpu_template)
        rc = read_cpu_template(cpu_template_fd, options->cpu_template, &cpu_template, err);
    for (uint32_t i = 0; rc == 0 && i < vm->vcpu_count; i++) {
        const struct cpuid_request request = {
            .vcpu_index = i,
            .vcpu_count = vm->vcpu_count,
            .software_only = vm->kvm->software_only,
            .pmu = options->pmu,
            .template = options->cpu_template ? &cpu_template : NULL,
        };
        cpuid = *supported;
        rc = cpuid_filter(&cpuid.head, VM_CPUID_MAX, &request, err);
        if (rc == 0)
            rc = vm_set_cpuid(vm, i, cpuid.entry, cpuid.head.nent, err);
        if (rc == 0 && !vm->kvm->software_only)
            rc = set_xcr0(vm, i, cpuid_boot_xcr0(&cpuid.head), err);
    }
    return rc;
}

static int set_entry(struct vm *vm, const struct boot_entry *entry, struct err *err)
{
    struct kvm_sregs sregs;
    struct kvm_regs regs;
    int fd = vm->vcpu[0].fd;

    if (ioctl(fd, KVM_GET_SREGS, &sregs) < 0 || ioctl(fd, KVM_GET_REGS, &regs) < 0)
        return err_set_errno(err, errno, "reading the boot vCPU's registers");
    boot_vcpu_regs(entry, &sregs, &regs);
    if (ioctl(fd, KVM_SET_SREGS, &sregs) < 0 || ioctl(fd, KVM_SET_REGS, &regs) < 0)
        return err_set_errno(err, errno, "setting the boot vCPU's registers");
    return 0;
}

/* ---- Memory's contents ---- */

static int load_guest(struct vm *vm, const struct options *options, const struct boot_files *files,
                      struct err *err)
{
    struct boot_virtio_dev virtio[VM_DEVICES_MAX];
    uint32_t virtio_count = 0;
    char cmdline[OPTIONS_CMDLINE_BYTES];
    struct boot_entry entry;

    for (unsigned i = 0; i < vm->device_count; i++) {
        const struct device *dev = vm->device[i];

        if (dev->bus == BUS_MMIO)
            virtio[virtio_count++] =
                (struct boot_virtio_dev){ .gpa = dev->base, .bytes = dev->bytes, .gsi = dev->gsi };
    }
    int used = snprintf(cmdline, sizeof cmdline, "%s%s%s%s%s", DEFAULT_CMDLINE,
                        vm->kvm->software_only ? " " SOFTWARE_ONLY_CMDLINE : "",
                        options->balloon ? " " BALLOON_CMDLINE : "", options->cmdline ? " " : "",
                        options->cmdline ? options->cmdline : "");
    if (used >= (int)sizeof cmdline)
        return err_set(err, EINVAL, "the kernel command line is longer than %zu characters",
                       sizeof cmdline - 1);
    int rc = boot_cmdline_add_virtio(cmdline, sizeof cmdline, virtio, virtio_count, err);
    struct boot_config config = {
        .kernel_fd = files->kernel_fd,
        .initrd_fd = files->initrd_fd,
        .cmdline = cmdline,
        .vcpu_count = vm->vcpu_count,
        .acpi = !vm->kvm->software_only,
        .virtio = virtio,
        .virtio_count = virtio_count,
        .serial = true,
        .vmgenid_gsi = BOOT_VMGENID_GSI,
        .power_gsi = BOOT_POWER_GSI,
    };
    random_bytes(config.vmgenid, sizeof config.vmgenid);
    if (rc == 0)
        rc = boot_load(&vm->mem, &config, &entry, err);
    return rc == 0 ? set_entry(vm, &entry, err) : rc;
}

/* Makes VM and devices, and asks what CPUs it can have: KVM's part takes as long as the sandbox, and
 * neither needs the other. */
static int build(void *context, struct err *err)
{
    struct making *m = context;
    const struct options *options = m->options;
    struct machine_config config = MACHINE_CONFIG_INIT;
    struct guest_mem mem;

    config.vm.vcpu_count = options->vcpu_count;
    config.vm.pit = options->pit;
    config.has_balloon = options->balloon;
    config.volumes = options->volumes;
    config.console_log_fd = take_fd(&m->files.log_fd);
    disk_source_configure(&m->disk, &(int){ options->disk_delta_fd }, &config);
    guest_fill_begin(&m->fill);
    int rc = guest_mem_init(&mem, options->memory_bytes, err);
    if (rc == 0)
        rc = guest_mem_map_new(&mem, options->huge_pages, err);
    mem.fill = &m->fill;
    if (rc == 0 && m->net.given)
        rc = net_source_configure(&m->net, &m->net.fd, &m->net.vhost_fd, NULL, &config, err);
    if (rc == 0)
        rc = machine_create(&m->process.machine, &m->kvm, &mem, &config, err);
    if (rc < 0)
        guest_mem_fini(&mem);
    return rc == 0 ? kvm_host_cpuid(&m->kvm, &m->supported.head, err) : rc;
}

/* What the guest finds at its first instruction. */
static int fill(struct making *m, struct err *err)
{
    struct vm *vm = &m->process.machine.vm;
    int rc = set_cpuids(vm, &m->supported, m->options, m->files.cpu_template_fd, err);

    return rc == 0 ? load_guest(vm, m->options, &m->files, err) : rc;
}

/* Closes what the files were needed for; a started VM keeps none of them. */
static void close_files(struct boot_files *files)
{
    close_fd(&files->kernel_fd);
    close_fd(&files->initrd_fd);
    close_fd(&files->log_fd);
    close_fd(&files->cpu_template_fd);
}

static int open_all(struct making *m, struct err *err)
{
    int rc = open_files(m->options, &m->files, err);

    if (rc == 0)
        rc = vm_process_init(&m->process, err);
    if (rc == 0)
        rc = kvm_host_open(&m->kvm, err);
    if (rc == 0)
        rc = kvm_host_list_msrs(&m->kvm, err);
    if (rc == 0)
        rc = disk_source_open(&m->disk, m->options, err);
    if (!m->options->huge_pages) /* they are all there from the beginning */
        guest_fill_open(&m->fill);
    return rc;
}

/* Into the sandbox, with build() beside it. */
static int enter(struct making *m, struct err *err)
{
    const struct options *options = m->options;
    /* Its snapshot; the console's log is appended to a file of any size. */
    const uint64_t file_bytes = options->console_log
                                    ? GUEST_RAM_BYTES_MAX
                                    : MAX_OF(options->memory_bytes, STATE_FILE_BYTES_MAX);
    struct sandbox_vm jail = { .uid = options->uid,
                               .gid = options->uid,
                               .cgroup_count = options->cgroup_fds,
                               .socket_dir_fd = -1,
                               .file_bytes = MAX_OF(file_bytes, disk_source_file_bytes(&m->disk)) };
    int keep[BOOT_FDS + SANDBOX_CGROUPS_MAX + DISK_SOURCE_FDS_MAX] = {
        options->control_fd, options->bell_fd, m->files.kernel_fd,       m->files.initrd_fd,
        m->files.log_fd,     m->kvm.fd,        m->files.cpu_template_fd, options->disk_delta_fd,
        m->net.fd,           m->net.vhost_fd,  m->fill.device_fd
    };
    unsigned keep_count = BOOT_FDS;

    for (unsigned i = 0; i < options->cgroup_fds; i++)
        keep[keep_count++] = jail.cgroup_fds[i] = options->cgroup_fd + (int)i;
    keep_count += disk_source_fds(&m->disk, keep + keep_count);
    int rc = sandbox_enter(&options->sandbox, options->uid, keep, keep_count,
                           &(struct sandbox_meanwhile){ build, m }, &m->process.status, err);
    if (rc == 0)
        rc = sandbox_enter_vm(&options->sandbox, &jail, &m->process.status, err);
    for (unsigned i = 0; i < options->cgroup_fds; i++)
        close(jail.cgroup_fds[i]);
    return rc;
}

int program_run(struct options *options, struct err *err)
{
    static struct making making; /* large, and lives as long as the process */
    struct vm_process *process = &making.process;
    const struct vm_process_config config = { .control_fd = options->control_fd,
                                              .bell_fd = options->bell_fd,
                                              .sandbox = options->sandbox };
    uint64_t start_ns = now_ns();

    if (!options->kernel == (options->kernel_fd < 0) || options->control_fd < 0 ||
        options->bell_fd < 0) {
        err_set(err, EINVAL, "run needs --kernel or --kernel-fd, --control-fd and --bell-fd");
        return EXIT_BAD_USAGE;
    }
    making.options = options;
    making.net = options->net;
    making.files = (struct boot_files){ -1, -1, -1, -1 };
    making.disk = (struct disk_source)DISK_SOURCE_INIT;
    making.fill = (struct guest_fill)GUEST_FILL_INIT;
    if (open_all(&making, err) < 0 || enter(&making, err) < 0)
        return EXIT_SOFTWARE;
    process->machine.vm.created_ns = start_ns;
    /* Said in HELLO, which comes after it has become true. */
    process->status.layers |= CONTROL_LAYER_CPUID;
    if (vm_process_start(process, &config, err) < 0)
        return EXIT_SOFTWARE;
    int rc = fill(&making, err);
    close_files(&making.files);
    kvm_host_close(&making.kvm);
    vm_process_run(process, rc, err);
}
