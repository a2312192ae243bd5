//! A process that is allowed less than this one.

use std::os::unix::process::CommandExt as _;
use std::process::Command;

use rustix::process::{Resource, Rlimit, setrlimit};

use super::process::{installed, run};

/// Runs the test `name` of this program again, in a network of its own with a loopback interface.
/// There it returns true; here, false once that has passed (as root).
pub fn in_a_network_of_its_own(name: &str) -> bool {
    if std::env::var_os(INSIDE).is_some() {
        run(Command::new(installed("ip")).args(["link", "set", "lo", "up"]));
        return true;
    }
    let this = std::env::current_exe().expect("this program");
    let mut again = Command::new(installed("unshare"));
    again.arg("--net").arg(this).args([name, "--exact", "--nocapture"]).env(INSIDE, "1");
    let status = again.status().expect("it starts");
    assert!(status.success(), "{name}, in a network of its own: {status}");
    false
}

/// 128 descriptors: listeners, rings and the store take about 50.
pub fn few_descriptors(command: &mut Command) {
    let few = Rlimit { current: Some(128), maximum: Some(128) };
    // SAFETY: between fork and exec only a system call is made.
    unsafe {
        command.pre_exec(move || Ok(setrlimit(Resource::Nofile, few)?));
    }
}

/// What Docker's seccomp profile does: io_uring_setup is not permitted.
pub fn forbid_io_uring(command: &mut Command) {
    /// One instruction of the kernel's packet filter machine.
    #[repr(C)]
    struct Instruction {
        code: u16,
        if_true: u8,
        if_false: u8,
        operand: u32,
    }
    #[repr(C)]
    struct Program {
        length: u16,
        instructions: *const Instruction,
    }
    const fn instruction(code: u16, if_true: u8, if_false: u8, operand: u32) -> Instruction {
        Instruction { code, if_true, if_false, operand }
    }
    static INSTRUCTIONS: [Instruction; 4] = [
        // The system call's number stands first in what the filter sees.
        instruction(0x20, 0, 0, 0),
        instruction(0x15, 0, 1, IO_URING_SETUP),
        instruction(0x06, 0, 0, libc::SECCOMP_RET_ERRNO | libc::EPERM as u32),
        instruction(0x06, 0, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let install = || {
        let program = Program { length: 4, instructions: INSTRUCTIONS.as_ptr() };
        // SAFETY: it takes numbers only.
        let bound = unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) };
        let filter = libc::SECCOMP_MODE_FILTER;
        // SAFETY: the kernel copies the program, which outlives the call.
        let laid = unsafe { libc::prctl(libc::PR_SET_SECCOMP, filter, &raw const program) };
        match (bound, laid) {
            (0, 0) => Ok(()),
            _ => Err(std::io::Error::last_os_error()),
        }
    };
    // SAFETY: between fork and exec only system calls are made.
    unsafe {
        command.pre_exec(install);
    }
}

/// Tells the inner run of a test from the outer one.
const INSIDE: &str = "PULLGATE_TEST_HAS_ITS_NETWORK";
/// The system call's number, the same on every architecture.
const IO_URING_SETUP: u32 = 425;
