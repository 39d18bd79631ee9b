//! The C functions through which SQLite reaches the disks.
//!
//! SQLite calls these with pointers that it got from here or that live as long as the call; its interface says
//! which. A file of ours is a [`CFile`] in memory that SQLite gives us: its first field is what SQLite reads, the
//! second owns the [`Handle`] from `x_open` to `x_close`. All else is done by safe code.

use std::ffi::{CStr, c_char, c_int, c_void};
use std::ptr;
use std::sync::Once;

use rusqlite::ffi as sqlite;

use crate::disk::{Code, Handle, find};

/// What SQLite takes for one of its open files.
#[repr(C)]
struct CFile {
    base: sqlite::sqlite3_file,
    /// From `Box::into_raw`; null if the file was not opened.
    handle: *mut Handle,
}

const NAME: &CStr = c"hedgerow-faulty";
const MAX_PATH: c_int = 512;
/// What SQLite takes for a sector; what it takes for safe is a little more than what a disk does.
const SECTOR_SIZE: c_int = 4_096;
/// Noon of 1970-01-01, as SQLite counts: in ms, by the Julian calendar. Time stands still.
const NOW_MS: i64 = 210_866_760_000_000;

static METHODS: sqlite::sqlite3_io_methods = sqlite::sqlite3_io_methods {
    iVersion: 2,
    xClose: Some(x_close),
    xRead: Some(x_read),
    xWrite: Some(x_write),
    xTruncate: Some(x_truncate),
    xSync: Some(x_sync),
    xFileSize: Some(x_file_size),
    xLock: Some(x_lock),
    xUnlock: Some(x_unlock),
    xCheckReservedLock: Some(x_check_reserved_lock),
    xFileControl: Some(x_file_control),
    xSectorSize: Some(x_sector_size),
    xDeviceCharacteristics: Some(x_device_characteristics),
    xShmMap: Some(x_shm_map),
    xShmLock: Some(x_shm_lock),
    xShmBarrier: Some(x_shm_barrier),
    xShmUnmap: Some(x_shm_unmap),
    xFetch: None,
    xUnfetch: None,
};

/// Makes the disks known to SQLite, once for the process.
pub(crate) fn register() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let vfs = sqlite::sqlite3_vfs {
            iVersion: 2,
            szOsFile: c_int::try_from(size_of::<CFile>()).unwrap_or(c_int::MAX),
            mxPathname: MAX_PATH,
            pNext: ptr::null_mut(),
            zName: NAME.as_ptr(),
            pAppData: ptr::null_mut(),
            xOpen: Some(x_open),
            xDelete: Some(x_delete),
            xAccess: Some(x_access),
            xFullPathname: Some(x_full_pathname),
            xDlOpen: None,
            xDlError: None,
            xDlSym: None,
            xDlClose: None,
            xRandomness: Some(x_randomness),
            xSleep: Some(x_sleep),
            xCurrentTime: Some(x_current_time),
            xGetLastError: None,
            xCurrentTimeInt64: Some(x_current_time_int64),
            xSetSystemCall: None,
            xGetSystemCall: None,
            xNextSystemCall: None,
        };
        // SAFETY: SQLite keeps the pointer for ever, and what it points to is never freed; the name is static.
        let code = unsafe { sqlite::sqlite3_vfs_register(Box::into_raw(Box::new(vfs)), 0) };
        assert_eq!(code, sqlite::SQLITE_OK, "SQLite does not take the disks");
    });
}

fn code(result: Result<(), Code>) -> c_int {
    result.err().unwrap_or(sqlite::SQLITE_OK)
}

/// The handle of an open file.
///
/// # Safety
/// `file` is one that `x_open` has opened and `x_close` has not closed, as SQLite promises for every method of a
/// file; and the result is not used after the method.
unsafe fn handle<'a>(file: *mut sqlite::sqlite3_file) -> &'a Handle {
    // SAFETY: `x_open` has written a whole `CFile` there, whose handle is from `Box::into_raw` and not freed
    // before `x_close`. It is only ever shared: `Handle` has no method that takes it mutably.
    unsafe { &*(*file.cast::<CFile>()).handle }
}

/// The path that SQLite names.
///
/// # Safety
/// `name` is null or a string that ends with 0 and lives as long as the call.
unsafe fn path<'a>(name: *const c_char) -> Option<&'a str> {
    if name.is_null() {
        return None;
    }
    // SAFETY: not null; the rest is the caller's promise.
    unsafe { CStr::from_ptr(name) }.to_str().ok()
}

unsafe extern "C" fn x_open(
    _: *mut sqlite::sqlite3_vfs,
    name: sqlite::sqlite3_filename,
    file: *mut sqlite::sqlite3_file,
    flags: c_int,
    out_flags: *mut c_int,
) -> c_int {
    // Files without a name are temporary ones, which stores keep in memory.
    // SAFETY: SQLite passes null or a path that lives as long as the file.
    let found = unsafe { path(name) }.and_then(find);
    let create = flags & sqlite::SQLITE_OPEN_CREATE != 0;
    let opened = match found {
        Some((state, name)) => Handle::open(state, &name, create),
        None => Err(sqlite::SQLITE_CANTOPEN),
    };
    let (methods, handle, result) = match opened {
        Ok(handle) => (&raw const METHODS, Box::into_raw(Box::new(handle)), sqlite::SQLITE_OK),
        // Without methods SQLite does not close it.
        Err(error) => (ptr::null(), ptr::null_mut(), error),
    };
    // SAFETY: SQLite gives `szOsFile` bytes, aligned, that are ours until the file is closed.
    unsafe { file.cast::<CFile>().write(CFile { base: sqlite::sqlite3_file { pMethods: methods }, handle }) };
    if !out_flags.is_null() {
        // SAFETY: not null, and SQLite's to be written.
        unsafe { out_flags.write(flags) };
    }
    result
}

unsafe extern "C" fn x_close(file: *mut sqlite::sqlite3_file) -> c_int {
    // SAFETY: an open file, closed once; its handle came from `Box::into_raw`, and no method is called after this.
    drop(unsafe { Box::from_raw((*file.cast::<CFile>()).handle) });
    sqlite::SQLITE_OK
}

unsafe extern "C" fn x_read(
    file: *mut sqlite::sqlite3_file,
    out: *mut c_void,
    len: c_int,
    at: sqlite::sqlite3_int64,
) -> c_int {
    let (Ok(len), Ok(at)) = (usize::try_from(len), usize::try_from(at)) else { return sqlite::SQLITE_IOERR };
    // SAFETY: SQLite gives `len` bytes that nobody else uses during the call; as a destination they may hold
    // anything, so they are set before a slice is made of them.
    let out = unsafe {
        ptr::write_bytes(out.cast::<u8>(), 0, len);
        std::slice::from_raw_parts_mut(out.cast::<u8>(), len)
    };
    // SAFETY: an open file.
    match unsafe { handle(file) }.read(at, out) {
        Ok(count) if count == len => sqlite::SQLITE_OK,
        Ok(_) => sqlite::SQLITE_IOERR_SHORT_READ,
        Err(error) => error,
    }
}

unsafe extern "C" fn x_write(
    file: *mut sqlite::sqlite3_file,
    data: *const c_void,
    len: c_int,
    at: sqlite::sqlite3_int64,
) -> c_int {
    let (Ok(len), Ok(at)) = (usize::try_from(len), usize::try_from(at)) else { return sqlite::SQLITE_IOERR };
    // SAFETY: SQLite gives `len` bytes that are not written during the call.
    let data = unsafe { std::slice::from_raw_parts(data.cast::<u8>(), len) };
    // SAFETY: an open file.
    code(unsafe { handle(file) }.write(at, data))
}

unsafe extern "C" fn x_truncate(file: *mut sqlite::sqlite3_file, len: sqlite::sqlite3_int64) -> c_int {
    let Ok(len) = usize::try_from(len) else { return sqlite::SQLITE_IOERR };
    // SAFETY: an open file.
    code(unsafe { handle(file) }.truncate(len))
}

unsafe extern "C" fn x_sync(file: *mut sqlite::sqlite3_file, _: c_int) -> c_int {
    // SAFETY: an open file.
    code(unsafe { handle(file) }.sync())
}

unsafe extern "C" fn x_file_size(file: *mut sqlite::sqlite3_file, size: *mut sqlite::sqlite3_int64) -> c_int {
    // SAFETY: an open file.
    match unsafe { handle(file) }.size() {
        Ok(len) => {
            // SAFETY: SQLite's to be written.
            unsafe { size.write(i64::try_from(len).unwrap_or(i64::MAX)) };
            sqlite::SQLITE_OK
        }
        Err(error) => error,
    }
}

unsafe extern "C" fn x_lock(file: *mut sqlite::sqlite3_file, level: c_int) -> c_int {
    // SAFETY: an open file.
    code(unsafe { handle(file) }.lock(level))
}

unsafe extern "C" fn x_unlock(file: *mut sqlite::sqlite3_file, level: c_int) -> c_int {
    // SAFETY: an open file.
    unsafe { handle(file) }.unlock(level);
    sqlite::SQLITE_OK
}

unsafe extern "C" fn x_check_reserved_lock(file: *mut sqlite::sqlite3_file, out: *mut c_int) -> c_int {
    // SAFETY: an open file.
    let reserved = unsafe { handle(file) }.is_reserved();
    // SAFETY: SQLite's to be written.
    unsafe { out.write(reserved.into()) };
    sqlite::SQLITE_OK
}

unsafe extern "C" fn x_file_control(_: *mut sqlite::sqlite3_file, _: c_int, _: *mut c_void) -> c_int {
    sqlite::SQLITE_NOTFOUND
}

unsafe extern "C" fn x_sector_size(_: *mut sqlite::sqlite3_file) -> c_int {
    SECTOR_SIZE
}

/// As SQLite's own file system for Unix has it: a write that fails leaves what is beside it as it was.
unsafe extern "C" fn x_device_characteristics(_: *mut sqlite::sqlite3_file) -> c_int {
    sqlite::SQLITE_IOCAP_POWERSAFE_OVERWRITE
}

unsafe extern "C" fn x_shm_map(
    file: *mut sqlite::sqlite3_file,
    number: c_int,
    size: c_int,
    make: c_int,
    out: *mut *mut c_void,
) -> c_int {
    let (Ok(number), Ok(size)) = (usize::try_from(number), usize::try_from(size)) else {
        return sqlite::SQLITE_IOERR;
    };
    // SAFETY: an open file.
    let region = unsafe { handle(file) }.region(number, size, make != 0);
    // The file keeps the region until the last connection has left it. Its atomics may be written through the
    // pointer although it is made of a shared reference, and have the alignment that SQLite needs.
    let place = region.map_or(ptr::null_mut(), |region| region.as_ptr().cast_mut().cast::<c_void>());
    // SAFETY: SQLite's to be written.
    unsafe { out.write(place) };
    sqlite::SQLITE_OK
}

unsafe extern "C" fn x_shm_lock(
    file: *mut sqlite::sqlite3_file,
    first: c_int,
    count: c_int,
    flags: c_int,
) -> c_int {
    let (Ok(first), Ok(count)) = (usize::try_from(first), usize::try_from(count)) else {
        return sqlite::SQLITE_IOERR;
    };
    // SAFETY: an open file.
    let handle = unsafe { handle(file) };
    if flags & sqlite::SQLITE_SHM_UNLOCK != 0 {
        handle.free_slots(first, count);
        return sqlite::SQLITE_OK;
    }
    code(handle.take_slots(first, count, flags & sqlite::SQLITE_SHM_EXCLUSIVE != 0))
}

unsafe extern "C" fn x_shm_barrier(_: *mut sqlite::sqlite3_file) {
    std::sync::atomic::fence(std::sync::atomic::Ordering::SeqCst);
}

unsafe extern "C" fn x_shm_unmap(file: *mut sqlite::sqlite3_file, _: c_int) -> c_int {
    // SAFETY: an open file, which uses none of its regions after this.
    unsafe { handle(file) }.leave_regions();
    sqlite::SQLITE_OK
}

unsafe extern "C" fn x_delete(_: *mut sqlite::sqlite3_vfs, name: *const c_char, sync_folder: c_int) -> c_int {
    // SAFETY: SQLite passes a path that lives as long as the call.
    match unsafe { path(name) }.and_then(find) {
        Some((state, name)) => {
            let mut state = state.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            code(state.delete(&name, sync_folder != 0))
        }
        None => sqlite::SQLITE_IOERR_DELETE,
    }
}

unsafe extern "C" fn x_access(
    _: *mut sqlite::sqlite3_vfs,
    name: *const c_char,
    _: c_int,
    out: *mut c_int,
) -> c_int {
    // SAFETY: SQLite passes a path that lives as long as the call.
    let there = unsafe { path(name) }.and_then(find).is_some_and(|(state, name)| {
        state.lock().unwrap_or_else(std::sync::PoisonError::into_inner).exists(&name)
    });
    // SAFETY: SQLite's to be written.
    unsafe { out.write(there.into()) };
    sqlite::SQLITE_OK
}

unsafe extern "C" fn x_full_pathname(
    _: *mut sqlite::sqlite3_vfs,
    name: *const c_char,
    room: c_int,
    out: *mut c_char,
) -> c_int {
    // SAFETY: SQLite passes a string that ends with 0.
    let bytes = unsafe { CStr::from_ptr(name) }.to_bytes_with_nul();
    if usize::try_from(room).is_ok_and(|room| bytes.len() <= room) {
        // SAFETY: there is room for all of them, and the two do not overlap.
        unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), out.cast::<u8>(), bytes.len()) };
        sqlite::SQLITE_OK
    } else {
        sqlite::SQLITE_CANTOPEN
    }
}

unsafe extern "C" fn x_randomness(_: *mut sqlite::sqlite3_vfs, len: c_int, out: *mut c_char) -> c_int {
    // SAFETY: SQLite gives `len` bytes to be written.
    unsafe { ptr::write_bytes(out, 0x5a, usize::try_from(len).unwrap_or(0)) };
    len
}

/// Nobody is waited for: time stands still.
unsafe extern "C" fn x_sleep(_: *mut sqlite::sqlite3_vfs, microseconds: c_int) -> c_int {
    microseconds
}

unsafe extern "C" fn x_current_time(_: *mut sqlite::sqlite3_vfs, out: *mut f64) -> c_int {
    // SAFETY: SQLite's to be written.
    unsafe { out.write(2_440_588.0) };
    sqlite::SQLITE_OK
}

unsafe extern "C" fn x_current_time_int64(
    _: *mut sqlite::sqlite3_vfs,
    out: *mut sqlite::sqlite3_int64,
) -> c_int {
    // SAFETY: SQLite's to be written.
    unsafe { out.write(NOW_MS) };
    sqlite::SQLITE_OK
}
