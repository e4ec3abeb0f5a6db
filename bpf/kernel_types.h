/* kernel_types.h - the few fields of the kernel's structures that the programs read. libbpf moves each access to where the
 * running kernel has the field, by its BTF. */
#ifndef HAKMEM_KERNEL_TYPES_H
#define HAKMEM_KERNEL_TYPES_H

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct super_block {
    unsigned int s_dev;
};

struct inode {
    struct super_block *i_sb;
    unsigned long i_ino;
};

struct qstr {
    const unsigned char *name;
};

struct dentry {
    struct qstr d_name;
};

struct path {
    struct dentry *dentry;
};

struct file {
    struct path f_path;
    struct inode *f_inode;
};

struct vm_area_struct {
    unsigned long vm_start;
    unsigned long vm_end;
    struct mm_struct *vm_mm;
    unsigned long vm_flags;
    unsigned long vm_pgoff;
    struct file *vm_file;
};

struct mm_struct {
    struct file *exe_file;
};

struct signal_struct {
    struct {
        int counter;
    } live;
};

typedef struct {
    unsigned int val;
} kuid_t;

struct cred {
    kuid_t uid;
};

struct task_struct {
    int pid;
    int tgid;
    unsigned long long start_time;
    unsigned long long start_boottime;
    char comm[16];
    struct mm_struct *mm;
    struct signal_struct *signal;
    struct task_struct *group_leader;
    struct task_struct *real_parent;
    const struct cred *cred;
};

struct bpf_iter__task {
    void *meta;
    struct task_struct *task;
};

struct bpf_iter__task_vma {
    void *meta;
    struct task_struct *task;
    struct vm_area_struct *vma;
};

#pragma clang attribute pop

#endif
