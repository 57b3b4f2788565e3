#include "internal/io_vfs.h"

#include <fmt/format.h>
#include <sqlite3.h>

#include <atomic>
#include <cstring>
#include <mutex>

namespace neap::store::internal {

struct IoVfs::State {
  State(io::FileSystem& f, io::Random& r, const Clock& c) : files(f), random(r), clock(c) {}
  io::FileSystem& files;
  io::Random& random;
  const Clock& clock;
  std::string name;
  std::string last_error;
  sqlite3_vfs vfs{};
};

namespace {

struct OpenFile {
  sqlite3_file base;  // first: SQLite sees only this
  IoVfs::State* owner;
  io::File* file;
  std::string* path;
  // Set until the first sync: the name of a new file is durable only with its directory.
  bool directory_unsynced;
  bool delete_on_close;
};
OpenFile& file_of(sqlite3_file* f) { return *reinterpret_cast<OpenFile*>(f); }
IoVfs::State& state_of(sqlite3_vfs* vfs) { return *static_cast<IoVfs::State*>(vfs->pAppData); }

std::string directory_of(const std::string& path) {
  const auto at = path.rfind('/');
  return at == std::string::npos ? "." : at == 0 ? "/" : path.substr(0, at);
}
int failed(IoVfs::State& state, const Error& error, int code) {
  state.last_error = error.to_string();
  return error.code == Code::kResourceExhausted ? SQLITE_FULL : code;
}

int x_close(sqlite3_file* f) {
  auto& file = file_of(f);
  delete file.file;
  if (file.delete_on_close) (void)file.owner->files.remove(*file.path);
  delete file.path;
  file.file = nullptr;
  file.path = nullptr;
  return SQLITE_OK;
}
int x_read(sqlite3_file* f, void* out, int amount, sqlite3_int64 offset) {
  auto& file = file_of(f);
  std::string bytes;
  while (bytes.size() < std::size_t(amount)) {
    auto n =
        file.file->read_at(std::uint64_t(offset) + bytes.size(), bytes, std::size_t(amount) - bytes.size());
    if (!n) {
      failed(*file.owner, n.error(), SQLITE_IOERR_READ);
      return SQLITE_IOERR_READ;
    }
    if (*n == 0) break;
  }
  std::memcpy(out, bytes.data(), bytes.size());
  if (bytes.size() == std::size_t(amount)) return SQLITE_OK;
  std::memset(static_cast<char*>(out) + bytes.size(), 0, std::size_t(amount) - bytes.size());
  return SQLITE_IOERR_SHORT_READ;
}
int x_write(sqlite3_file* f, const void* data, int amount, sqlite3_int64 offset) {
  auto& file = file_of(f);
  auto status =
      file.file->write_at(std::uint64_t(offset), {static_cast<const char*>(data), std::size_t(amount)});
  return status ? SQLITE_OK : failed(*file.owner, status.error(), SQLITE_IOERR_WRITE);
}
int x_truncate(sqlite3_file* f, sqlite3_int64 size) {
  auto& file = file_of(f);
  auto status = file.file->truncate(std::uint64_t(size));
  return status ? SQLITE_OK : failed(*file.owner, status.error(), SQLITE_IOERR_TRUNCATE);
}
int x_sync(sqlite3_file* f, int) {
  auto& file = file_of(f);
  if (auto status = file.file->sync(); !status) {
    // A full disk at a sync is a lost write, not a refused one.
    failed(*file.owner, status.error(), SQLITE_IOERR_FSYNC);
    return SQLITE_IOERR_FSYNC;
  }
  if (!file.directory_unsynced) return SQLITE_OK;
  if (auto status = file.owner->files.sync_directory(directory_of(*file.path)); !status) {
    failed(*file.owner, status.error(), SQLITE_IOERR_DIR_FSYNC);
    return SQLITE_IOERR_DIR_FSYNC;
  }
  file.directory_unsynced = false;
  return SQLITE_OK;
}
int x_file_size(sqlite3_file* f, sqlite3_int64* out) {
  auto& file = file_of(f);
  auto size = file.file->size();
  if (!size) return failed(*file.owner, size.error(), SQLITE_IOERR_FSTAT);
  *out = sqlite3_int64(*size);
  return SQLITE_OK;
}
int x_lock(sqlite3_file*, int) { return SQLITE_OK; }
int x_check_reserved_lock(sqlite3_file*, int* out) {
  *out = 0;
  return SQLITE_OK;
}
int x_file_control(sqlite3_file*, int, void*) { return SQLITE_NOTFOUND; }
int x_sector_size(sqlite3_file*) { return 512; }
int x_device_characteristics(sqlite3_file*) { return SQLITE_IOCAP_POWERSAFE_OVERWRITE; }

// Version 1 of the table: no shared memory, no memory mapping.
constexpr sqlite3_io_methods make_methods() {
  sqlite3_io_methods out{};
  out.iVersion = 1;
  out.xClose = x_close;
  out.xRead = x_read;
  out.xWrite = x_write;
  out.xTruncate = x_truncate;
  out.xSync = x_sync;
  out.xFileSize = x_file_size;
  out.xLock = x_lock;
  out.xUnlock = x_lock;
  out.xCheckReservedLock = x_check_reserved_lock;
  out.xFileControl = x_file_control;
  out.xSectorSize = x_sector_size;
  out.xDeviceCharacteristics = x_device_characteristics;
  return out;
}
constexpr sqlite3_io_methods kMethods = make_methods();

int x_open(sqlite3_vfs* vfs, const char* name, sqlite3_file* f, int flags, int* out_flags) {
  auto& state = state_of(vfs);
  auto& file = file_of(f);
  file.base.pMethods = nullptr;
  if (!name) return SQLITE_CANTOPEN;  // temporary files live in memory here
  const bool is_new = !state.files.stat(name).has_value();
  const auto mode = !(flags & SQLITE_OPEN_READWRITE) ? io::OpenMode::kRead
                    : flags & SQLITE_OPEN_CREATE     ? io::OpenMode::kCreate
                                                     : io::OpenMode::kReadWrite;
  auto opened = state.files.open(name, mode);
  if (!opened)
    return failed(state, opened.error(), SQLITE_CANTOPEN) == SQLITE_FULL ? SQLITE_FULL : SQLITE_CANTOPEN;
  file.owner = &state;
  file.file = opened->release();
  file.path = new std::string(name);
  file.directory_unsynced = is_new;
  file.delete_on_close = flags & SQLITE_OPEN_DELETEONCLOSE;
  file.base.pMethods = &kMethods;
  if (out_flags) *out_flags = flags;
  return SQLITE_OK;
}
int x_delete(sqlite3_vfs* vfs, const char* name, int sync_directory) {
  auto& state = state_of(vfs);
  if (auto status = state.files.remove(name); !status)
    return status.error().code == Code::kNotFound ? SQLITE_IOERR_DELETE_NOENT
                                                  : failed(state, status.error(), SQLITE_IOERR_DELETE);
  if (sync_directory)
    if (auto status = state.files.sync_directory(directory_of(name)); !status)
      return failed(state, status.error(), SQLITE_IOERR_DIR_FSYNC);
  return SQLITE_OK;
}
int x_access(sqlite3_vfs* vfs, const char* name, int flags, int* out) {
  const auto stat = state_of(vfs).files.stat(name);
  // An empty journal or WAL counts as absent, as it does for SQLite's own file access.
  *out = stat && (flags != SQLITE_ACCESS_EXISTS || stat->size > 0);
  return SQLITE_OK;
}
int x_full_pathname(sqlite3_vfs*, const char* name, int size, char* out) {
  if (std::strlen(name) + 1 > std::size_t(size)) return SQLITE_CANTOPEN;
  std::strcpy(out, name);
  return SQLITE_OK;
}
int x_randomness(sqlite3_vfs* vfs, int size, char* out) {
  state_of(vfs).random.fill({reinterpret_cast<std::uint8_t*>(out), std::size_t(size)});
  return size;
}
int x_sleep(sqlite3_vfs*, int microseconds) { return microseconds; }
int x_current_time_int64(sqlite3_vfs* vfs, sqlite3_int64* out) {
  // Milliseconds since the Julian epoch, noon of 24 November 4714 BC.
  constexpr sqlite3_int64 kUnixEpoch = 210'866'760'000'000;
  *out = kUnixEpoch +
         std::chrono::duration_cast<std::chrono::milliseconds>(state_of(vfs).clock.wall().time_since_epoch())
             .count();
  return SQLITE_OK;
}
int x_current_time(sqlite3_vfs* vfs, double* out) {
  sqlite3_int64 milliseconds = 0;
  x_current_time_int64(vfs, &milliseconds);
  *out = double(milliseconds) / 86'400'000.0;
  return SQLITE_OK;
}
int x_get_last_error(sqlite3_vfs* vfs, int size, char* out) {
  if (size > 0) {
    std::strncpy(out, state_of(vfs).last_error.c_str(), std::size_t(size) - 1);
    out[size - 1] = '\0';
  }
  return 0;
}

}  // namespace

IoVfs::IoVfs(io::Runtime& runtime)
    : state_(std::make_unique<State>(runtime.files(), runtime.random(), runtime.clock())) {
  static std::atomic<std::uint64_t> count{0};
  state_->name = fmt::format("neap-io-{}", ++count);
  auto& vfs = state_->vfs;
  vfs.iVersion = 2;
  vfs.szOsFile = int(sizeof(OpenFile));
  vfs.mxPathname = 4096;
  vfs.zName = state_->name.c_str();
  vfs.pAppData = state_.get();
  vfs.xOpen = x_open;
  vfs.xDelete = x_delete;
  vfs.xAccess = x_access;
  vfs.xFullPathname = x_full_pathname;
  vfs.xRandomness = x_randomness;
  vfs.xSleep = x_sleep;
  vfs.xCurrentTime = x_current_time;
  vfs.xGetLastError = x_get_last_error;
  vfs.xCurrentTimeInt64 = x_current_time_int64;
  sqlite3_vfs_register(&vfs, 0);
}
IoVfs::~IoVfs() { sqlite3_vfs_unregister(&state_->vfs); }
const std::string& IoVfs::name() const { return state_->name; }

}  // namespace neap::store::internal
