// SPDX-License-Identifier: BSD-3-Clause
// What a kind of directory must say for its nodes. One class for each part of the tree implements
// it; src/fs/tree.cpp turns FUSE's operations into these calls.
//
// Threads: the loop's.
// Errors: Status and Result carry the errno for the caller; a call that fails changes nothing.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.hpp"
#include "fs/meta.hpp"
#include "fs/node.hpp"
#include "fs/request.hpp"
#include "registry/types.hpp"

namespace flowfs::fs {

enum class FileType : std::uint8_t { directory, attribute, message, stream, mapped, symlink };

// A file that every object of a kind has; its place in the table is Node::file, 0 is the directory.
struct FileSpec {
  std::string_view name;
  FileType type;
  mode_t mode;
};

struct Child {
  std::string name;
  Node node;
};

// A child as a listing tells it, and the cookie from which the listing goes on behind it.
struct Entry {
  Child child;
  std::uint64_t next = 0;
};

class Folder {
 public:
  Folder() = default;
  virtual ~Folder() = default;
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;

  [[nodiscard]] virtual bool exists(Node node) const = 0;
  // The following are asked only of nodes that exist.
  [[nodiscard]] virtual FileType type(Node node) const = 0;
  [[nodiscard]] virtual Meta defaults(Node node) const = 0;
  // The node under which what chmod and the like changed is kept, where nodes come and go.
  [[nodiscard]] virtual Node lasting(Node node) const { return node; }
  // Whether mode, owner and list always follow those of another node and cannot be changed; and the
  // nodes that follow this one's.
  [[nodiscard]] virtual bool is_derived(Node /*node*/) const { return false; }
  [[nodiscard]] virtual std::vector<Node> derived_from(Node /*node*/) const { return {}; }
  [[nodiscard]] virtual std::uint64_t mapped_size(Node /*node*/) const { return 0; }
  // Before child() of a look-up by `by`: what is made at its first use is made here.
  virtual void prepare(Node /*directory*/, std::string_view /*name*/, uid_t /*by*/) {}
  [[nodiscard]] virtual std::optional<Node> child(Node directory, std::string_view name) = 0;
  // The first child at or behind a cookie; 0 is the beginning. Cookies stay good while children
  // come and go: those of objects grow with their ids.
  [[nodiscard]] virtual std::optional<Entry> child_from(Node directory, std::uint64_t cookie) = 0;
  [[nodiscard]] virtual std::string target(Node /*link*/) const { return {}; }

  // Attribute files. `value` is what a read at offset 0 sees.
  // `by` asks: what is costly to tell may be told a little late to everybody but root.
  virtual Result<std::string> value(Node file, uid_t by) = 0;
  virtual Status set_value(Node /*file*/, std::string_view /*text*/, uid_t /*by*/) {
    return fail(EACCES);
  }

  // How long the text of a write may be; also the size that is reported.
  [[nodiscard]] virtual std::size_t longest_value(Node /*file*/) const { return 4096; }

  // Whether what a read gives is given once, and must not stay here: the read takes all of it.
  [[nodiscard]] virtual bool is_secret(Node /*file*/) const { return false; }

  // Whether the value is of several lines, `key value` each.
  [[nodiscard]] virtual bool has_lines(Node /*file*/) const { return false; }

  // Message, stream and mapped files: answers the request, or parks it.
  virtual void open(Request request, Node node, int flags) = 0;

  // The memory of a mapped file, for a descriptor of `by`'s own; the one told stays ours. Errors:
  // EACCES it is not for writing; as open.
  virtual Result<int> memory(Node /*file*/, bool /*writable*/, uid_t /*by*/) {
    return fail(ENODEV, "not a mapped file");
  }

  // Changes of a directory.
  virtual Result<Node> make_directory(Node /*directory*/, std::string_view /*name*/,
                                      mode_t /*mode*/, registry::Opener /*who*/) {
    return fail(EPERM);
  }
  virtual Status remove_directory(Node /*directory*/, std::string_view /*name*/, uid_t /*by*/) {
    return fail(EPERM);
  }
  virtual Result<Node> make_link(Node /*directory*/, std::string_view /*name*/,
                                 std::string_view /*target*/, registry::Opener /*who*/) {
    return fail(EPERM);
  }
  virtual Status remove_link(Node /*directory*/, std::string_view /*name*/, uid_t /*by*/) {
    return fail(EPERM);
  }
  enum class RenameMode { plain, no_replace, exchange };
  virtual Status rename(Node /*directory*/, std::string_view /*from*/, std::string_view /*to*/,
                        RenameMode /*mode*/, uid_t /*by*/) {
    return fail(EPERM);
  }

 protected:
  // What rmdir is told of a child that goes with its object.
  [[nodiscard]] Status keep_child(Node directory, std::string_view name) {
    const auto found = child(directory, name);
    if (!found) {
      return fail(ENOENT);
    }
    return fail(type(*found) == FileType::directory ? EPERM : ENOTDIR);
  }
};

// The child of an object's directory with that name, from the table of its files.
template <std::size_t N>
std::optional<Node> find_file(const FileSpec (&files)[N], Node directory, std::string_view name) {
  for (std::size_t i = 1; i < N; ++i) {
    if (files[i].name == name) {
      return Node{directory.kind, directory.object, static_cast<std::uint8_t>(i)};
    }
  }
  return std::nullopt;
}

// The file of an object's directory at or behind a cookie; Node::file of the last one is the
// cookie.
template <std::size_t N>
std::optional<Entry> file_from(const FileSpec (&files)[N], Node directory, std::uint64_t cookie) {
  const std::uint64_t file = cookie + 1;
  if (file >= N) {
    return std::nullopt;
  }
  return Entry{{std::string(files[file].name),
                Node{directory.kind, directory.object, static_cast<std::uint8_t>(file)}},
               file};
}

}  // namespace flowfs::fs
