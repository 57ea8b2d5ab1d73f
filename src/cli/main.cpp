// SPDX-License-Identifier: BSD-3-Clause
// flowctl: the command line of flowctl(1). Everything here is about words; the work is in one file
// a command.
#include <CLI/CLI.hpp>
#include <functional>
#include <map>

#include "auth/issue.hpp"
#include "cli/commands.hpp"
#include "cli/event_line.hpp"
#include "cli/mount.hpp"

namespace flowfs::cli {
namespace {

struct Arguments {
  Common common;
  std::string mount;
  int descriptor = 0;
  WatchOptions watch;
  TopOptions top;
  PingOptions ping;
  PerfOptions perf;
  ServeOptions serve;
  CertOptions cert;
  BusOptions bus;
  std::string mode;
  bool echo = false;
  bool sink = false;
  bool source = false;
  bool spin = false;
  bool sleep = false;
  bool one_way = false;
  bool receive = false;
};

using Command = std::function<int()>;

// A subcommand with the options that all of them have.
CLI::App* add_command(CLI::App& app, Arguments& arguments, const char* name, const char* text) {
  CLI::App* const command = app.add_subcommand(name, text);
  command->add_option("--mount", arguments.mount, "Where flowfs is mounted")->type_name("DIR");
  command->add_flag("--json", arguments.common.json, "Print JSON, one value a line");
  return command;
}

void add_watch(CLI::App& app, Arguments& arguments) {
  CLI::App* const watch =
      add_command(app, arguments, "watch", "Follow what happens to names and flows");
  watch->add_option("--kind", arguments.watch.kinds, "Only events of this kind; may be repeated")
      ->type_name("KIND")
      ->allow_extra_args(false)
      ->check(CLI::IsMember(event_kinds()));
  watch->add_option("--object", arguments.watch.object_glob, "Only objects that match the pattern")
      ->type_name("GLOB");
  watch->add_option("-n,--count", arguments.watch.count, "End after so many events")
      ->type_name("N");
}

void add_top(CLI::App& app, Arguments& arguments) {
  TopOptions& options = arguments.top;
  CLI::App* const top =
      add_command(app, arguments, "top", "Show flows, names, users and pools as they change");
  top->add_flag("-b,--batch", options.batch, "Print tables, for a file or a pipe");
  top->add_option("-n,--count", options.count, "End after so many tables")->type_name("N");
  top->add_option("-d,--delay", options.delay_s, "Seconds from one look to the next (2)")
      ->type_name("SECONDS")
      ->check(CLI::Range(0.01, 86400.0));
  const std::map<std::string, TopSort> keys{{"id", TopSort::id},
                                            {"messages", TopSort::messages},
                                            {"bytes", TopSort::bytes},
                                            {"name", TopSort::name}};
  top->add_option("--sort", options.sort, "Order of flows: id, messages, bytes (default), name")
      ->type_name("KEY")
      ->transform(CLI::Transformer(keys))
      ->transform(CLI::IsMember(keys));
}

void add_ping(CLI::App& app, Arguments& arguments) {
  PingOptions& options = arguments.ping;
  CLI::App* const ping =
      add_command(app, arguments, "ping", "Measure round trips to an echo server");
  ping->add_option("NAME", options.name, "The name to dial")->required();
  ping->add_option("-c,--count", options.count, "End after so many messages")->type_name("N");
  ping->add_option("-i,--interval", options.interval_s, "Seconds between messages (1)")
      ->type_name("SECONDS")
      ->check(CLI::Range(0.0, 86400.0));
  ping->add_option("-s,--size", options.size_bytes, "Bytes of each message (56)")
      ->type_name("BYTES")
      ->check(CLI::Range(1, 1 << 26));
  ping->add_option("-W,--wait", options.wait_s, "Seconds to wait for each answer (1)")
      ->type_name("SECONDS")
      ->check(CLI::Range(0.001, 86400.0));
  ping->add_flag("--flood", options.flood, "Send the next as soon as the last is answered");
  ping->add_flag("--mapped", options.mapped, "Through shared memory, where it can be mapped");
}

// How a mapped end waits; for the commands that have mapped ends.
void add_waiting(CLI::App& command, Arguments& arguments) {
  CLI::Option* const spin =
      command.add_flag("--spin", arguments.spin, "Mapped: never sleep while waiting");
  command.add_flag("--sleep", arguments.sleep, "Mapped: sleep at once instead of spinning a while")
      ->excludes(spin);
}

Waiting waiting_of(const Arguments& arguments) {
  return arguments.spin ? Waiting::spin : arguments.sleep ? Waiting::sleep : Waiting::adaptive;
}

void add_perf(CLI::App& app, Arguments& arguments) {
  PerfOptions& options = arguments.perf;
  CLI::App* const perf =
      add_command(app, arguments, "perf", "Measure a flow: round trips, rates, copies");
  perf->add_option("NAME", options.name, "The name to dial")->required();
  CLI::Option* const one_way =
      perf->add_flag("--one-way", arguments.one_way, "Only send; the server is a sink");
  CLI::Option* const receive = perf->add_flag("--receive", arguments.receive,
                                              "Only receive; the server is a numbered source");
  perf->add_option("-s,--size", options.size_bytes, "Bytes of each message (64)")
      ->type_name("BYTES")
      ->check(CLI::Range(1, 1 << 26));
  perf->add_option("-c,--count", options.count, "End after so many messages")->type_name("N");
  perf->add_option("-t,--time", options.seconds, "End after so many seconds (5, without --count)")
      ->type_name("SECONDS")
      ->check(CLI::Range(0.001, 86400.0));
  perf->add_option("-r,--rate", options.rate, "Send so many messages a second, whatever comes back")
      ->type_name("N")
      ->check(CLI::Range(0.01, 1e9))
      ->excludes(receive);
  perf->add_option("-W,--wait", options.wait_s, "Seconds without any progress before giving up (5)")
      ->type_name("SECONDS")
      ->check(CLI::Range(0.001, 86400.0));
  perf->add_flag("--file", options.through_files, "Read and write, do not map");
  add_waiting(*perf, arguments);
  one_way->excludes(receive);
}

void settle_perf(const CLI::App& perf, Arguments& arguments) {
  PerfOptions& options = arguments.perf;
  options.shape = arguments.one_way   ? PerfShape::send
                  : arguments.receive ? PerfShape::receive
                                      : PerfShape::round_trip;
  options.seconds_given = perf.count("--time") > 0;
  options.waiting = waiting_of(arguments);
}

void add_serve(CLI::App& app, Arguments& arguments) {
  ServeOptions& options = arguments.serve;
  CLI::App* const serve = add_command(app, arguments, "serve", "Serve a name");
  serve->add_option("NAME", options.name, "The name; made, and removed at the end, where missing")
      ->required();
  CLI::Option* const echo =
      serve->add_flag("--echo", arguments.echo, "Send every message back (default)");
  CLI::Option* const sink = serve->add_flag("--sink", arguments.sink, "Read and count messages");
  CLI::Option* const source = serve->add_flag("--source", arguments.source, "Send messages");
  echo->excludes(sink, source);
  sink->excludes(source);
  serve->add_option("--size", options.size_bytes, "Bytes of each message of a source (64)")
      ->type_name("N")
      ->check(CLI::Range(1, 1 << 26))
      ->needs(source);
  serve->add_option("--count", options.count, "Close each flow after so many messages")
      ->type_name("N");
  serve->add_option("--flows", options.flows, "End after so many flows")->type_name("N");
  serve->add_option("--mode", arguments.mode, "Octal mode of the name, if it is made")
      ->type_name("MODE");
  serve
      ->add_flag("--numbered", options.numbered,
                 "Number what a source sends, check what a sink gets")
      ->excludes(echo);
  serve->add_flag("--mapped", options.mapped, "Through shared memory, where it can be mapped");
  add_waiting(*serve, arguments);
  serve->add_flag("-v,--verbose", options.verbose, "Say on stderr who comes and goes");
}

// False: it complained.
bool settle_serve(Arguments& arguments) {
  arguments.serve.waiting = waiting_of(arguments);
  if (arguments.sink) {
    arguments.serve.role = ServeRole::sink;
  } else if (arguments.source) {
    arguments.serve.role = ServeRole::source;
  }
  if (arguments.mode.empty()) {
    return true;
  }
  const bool octal = arguments.mode.find_first_not_of("01234567") == std::string::npos;
  if (!octal || arguments.mode.size() > 4) {
    complain(fmt::format("`{}` is not an octal mode such as 0733", arguments.mode));
    return false;
  }
  arguments.serve.mode = static_cast<std::uint32_t>(std::stoul(arguments.mode, nullptr, 8));
  return true;
}

void add_cert(CLI::App& app, Arguments& arguments) {
  CertOptions& options = arguments.cert;
  CLI::App* const cert =
      add_command(app, arguments, "cert", "Make and check the certificates of names");
  cert->add_option("ACTION", options.action, "init, server, client, lab, kem, revoke or check")
      ->required()
      ->check(CLI::IsMember({"init", "server", "client", "lab", "kem", "revoke", "check"}));
  cert->add_option("WORD", options.word, "The name; of init and check the folder");
  cert->add_option("--dir", options.folder, "The security folder (/etc/flowfs/security)")
      ->type_name("DIR")
      ->default_val("/etc/flowfs/security");
  cert->add_option("--days", options.days, "Days it is valid (3650, 365; of revoke 30)")
      ->type_name("N")
      ->check(CLI::Range(1U, 36500U));
  cert->add_option("--host", options.hosts, "Another name it has, by DNS; may be repeated")
      ->type_name("HOST")
      ->allow_extra_args(false);
  cert->add_option("--subject", options.subject, "Its common name, for people")
      ->type_name("TEXT")
      ->check([](const std::string& text) {
        return text.size() <= auth::kLongestCommonName ? std::string() : "at most 64 bytes";
      });
  cert->add_flag("--force", options.replace, "Replace what is there");
}

void add_bus(CLI::App& app, Arguments& arguments) {
  BusOptions& options = arguments.bus;
  CLI::App* const bus =
      add_command(app, arguments, "bus", "List, follow, record, replay and link buses");
  const std::map<std::string, BusAction> actions{
      {"list", BusAction::list},     {"members", BusAction::members}, {"watch", BusAction::watch},
      {"record", BusAction::record}, {"replay", BusAction::replay},   {"link", BusAction::link}};
  bus->add_option("ACTION", options.action, "list, members, watch, record, replay or link")
      ->required()
      ->transform(CLI::CheckedTransformer(actions));
  bus->add_option("WORDS", options.words,
                  "The bus; of record and replay a file, of link a bus too");
  bus->add_option("-n,--count", options.count, "End after so many messages, events or tables")
      ->type_name("N");
  bus->add_option("-d,--delay", options.delay_s, "Show a table again after so many seconds")
      ->type_name("SECONDS")
      ->check(CLI::Range(0.01, 1e6));
  bus->add_option("--speed", options.speed, "How much faster replay is (1; 0: as fast as it goes)")
      ->type_name("X")
      ->check(CLI::Range(0.0, 1e6));
  auto* const dial =
      bus->add_option("--dial", options.dial, "Link through a flow, which this end dials");
  auto* const accept =
      bus->add_option("--accept", options.accept, "Link through a flow, which this end waits for");
  dial->type_name("NAME")->excludes(accept);
  accept->type_name("NAME");
}

int run(int count, char** words) {
  Arguments arguments;
  CLI::App app("flowctl looks at and exercises a flowfs tree; see flowctl(1)", "flowctl");
  app.set_version_flag("--version", "flowctl " FLOWFS_VERSION);
  app.add_option("--mount", arguments.mount, "Where flowfs is mounted")->type_name("DIR");
  app.require_subcommand(1);
  const CLI::App* const status =
      add_command(app, arguments, "status", "Show names, flows and users");
  CLI::App* const id = add_command(app, arguments, "id", "Print the flow of an open descriptor");
  id->add_option("FD", arguments.descriptor, "A descriptor that the shell has open")
      ->required()
      ->check([](const std::string& text) {
        const bool digits = text.find_first_not_of("0123456789") == std::string::npos;
        return digits && text.size() < 10
                   ? std::string()
                   : "`" + text + "` is not the number of a descriptor, such as 3";
      });
  const CLI::App* const doctor =
      add_command(app, arguments, "doctor", "Say what is in use, what is missing, how to get it");
  add_top(app, arguments);
  add_serve(app, arguments);
  add_ping(app, arguments);
  add_perf(app, arguments);
  add_watch(app, arguments);
  add_cert(app, arguments);
  add_bus(app, arguments);
  try {
    app.parse(count, words);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? kDone : kUsage;
  }
  const Common& common = arguments.common;
  if (app.got_subcommand(id)) {
    return run_id(common, arguments.descriptor);
  }
  if (app.got_subcommand("cert")) {
    return run_cert(common, arguments.cert);
  }
  arguments.common.mount = find_mount(arguments.mount);
  if (app.got_subcommand(status)) {
    return run_status(common);
  }
  if (app.got_subcommand(doctor)) {
    return run_doctor(common);
  }
  if (app.got_subcommand("bus")) {
    return run_bus(common, arguments.bus);
  }
  if (app.got_subcommand("top")) {
    return run_top(common, arguments.top);
  }
  if (app.got_subcommand("serve")) {
    return settle_serve(arguments) ? run_serve(common, arguments.serve) : kUsage;
  }
  if (app.got_subcommand("ping")) {
    return run_ping(common, arguments.ping);
  }
  if (app.got_subcommand("perf")) {
    settle_perf(*app.get_subcommand("perf"), arguments);
    return run_perf(common, arguments.perf);
  }
  return run_watch(common, arguments.watch);
}

}  // namespace
}  // namespace flowfs::cli

int main(int argc, char** argv) {
  try {
    return flowfs::cli::run(argc, argv);
  } catch (const std::exception& error) {
    // Only memory that is not to be had gets here.
    std::fputs("flowctl: ", stderr);
    std::fputs(error.what(), stderr);
    std::fputs("\n", stderr);
    return flowfs::cli::kFailed;
  }
}
