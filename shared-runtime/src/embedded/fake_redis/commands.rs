//! Which commands there are, what a session remembers, and how one command runs.

use std::sync::PoisonError;

use bytes::Bytes;
use redis_protocol::resp2::types::BytesFrame;

use super::reply::{Failure, Reply, bulk, fail, integer, ok, simple, strict_integer, word};
use super::store::{DATABASES, Database, Store};
use super::{sorted, strings};

type OnData = fn(&Database<'_>, &[Bytes]) -> Reply;
type OnSession = fn(&mut Session, &Store, &[Bytes]) -> Reply;

#[derive(Clone, Copy)]
enum Run {
    /// One key: other keys may change meanwhile.
    Key(OnData),
    /// Several keys, seen and changed at one moment.
    Keys(OnData),
    /// The connection's own state.
    Session(OnSession),
}

#[derive(Clone, Copy)]
struct Command {
    /// Arguments with the name, exactly; negative: at least.
    arity: i32,
    run: Run,
}

fn find(name: &str) -> Option<Command> {
    use Run::{Key, Keys, Session as Own};
    let (arity, run) = match name {
        "PING" => (-1, Own(ping)),
        "ECHO" => (2, Own(|_, _, args| Ok(bulk(args[1].clone())))),
        "HELLO" => (-1, Own(hello)),
        "AUTH" => (-2, Own(|_, _, _| Ok(ok()))),
        "SELECT" => (2, Own(select)),
        "CLIENT" => (-2, Own(client)),
        "COMMAND" => (-1, Own(|_, _, _| Ok(BytesFrame::Array(Vec::new())))),
        "UNWATCH" => (1, Own(|_, _, _| Ok(ok()))),
        "INFO" => (-1, Own(info)),
        "TIME" => (1, Own(time)),
        "QUIT" => (-1, Own(quit)),
        "MULTI" => (1, Own(multi)),
        "EXEC" => (1, Own(exec)),
        "DISCARD" => (1, Own(discard)),
        "GET" => (2, Key(strings::get)),
        "SET" => (-3, Key(strings::set)),
        "SETEX" => (4, Key(strings::setex)),
        "DEL" | "UNLINK" => (-2, Keys(strings::del)),
        "EXISTS" => (-2, Keys(strings::exists)),
        "MGET" => (-2, Keys(strings::mget)),
        "MSET" => (-3, Keys(strings::mset)),
        "INCR" => (2, Key(strings::incr)),
        "INCRBY" => (3, Key(strings::incrby)),
        "DECR" => (2, Key(strings::decr)),
        "DECRBY" => (3, Key(strings::decrby)),
        "EXPIRE" => (-3, Key(strings::expire)),
        "PEXPIRE" => (-3, Key(strings::pexpire)),
        "EXPIREAT" => (-3, Key(strings::expireat)),
        "TTL" => (2, Key(strings::ttl)),
        "PTTL" => (2, Key(strings::pttl)),
        "PERSIST" => (2, Key(strings::persist)),
        "KEYS" => (2, Keys(strings::keys)),
        "SCAN" => (-2, Keys(strings::scan)),
        "DBSIZE" => (1, Keys(strings::dbsize)),
        "FLUSHDB" => (-1, Keys(strings::flushdb)),
        "FLUSHALL" => (-1, Keys(strings::flushall)),
        "ZADD" => (-4, Key(sorted::zadd)),
        "ZINCRBY" => (4, Key(sorted::zincrby)),
        "ZSCORE" => (3, Key(sorted::zscore)),
        "ZREM" => (-3, Key(sorted::zrem)),
        "ZCARD" => (2, Key(sorted::zcard)),
        "ZCOUNT" => (4, Key(sorted::zcount)),
        "ZRANGE" => (-4, Key(sorted::zrange)),
        "ZREVRANGE" => (-4, Key(sorted::zrevrange)),
        "ZRANGEBYSCORE" => (-4, Key(sorted::zrangebyscore)),
        "ZREMRANGEBYSCORE" => (4, Key(sorted::zremrangebyscore)),
        _ => return None,
    };
    Some(Command { arity, run })
}

/// The name and the arity are checked before a command is queued or run.
fn resolve(name: &str, args: &[Bytes]) -> Result<Command, Failure> {
    let Some(command) = find(name) else {
        let shown: String =
            args[1..].iter().take(8).map(|arg| format!("'{}' ", String::from_utf8_lossy(arg))).collect();
        let shown: String = shown.chars().take(128).collect();
        let name: String = String::from_utf8_lossy(&args[0]).chars().take(128).collect();
        // A reply is one line, whatever the arguments held.
        let text = format!("ERR unknown command '{name}', with args beginning with: {shown}");
        return Err(Failure(text.replace(['\r', '\n'], " ")));
    };
    let given = i32::try_from(args.len()).unwrap_or(i32::MAX);
    if if command.arity < 0 { given < -command.arity } else { given != command.arity } {
        let name = name.to_ascii_lowercase();
        return Err(Failure(format!("ERR wrong number of arguments for '{name}' command")));
    }
    Ok(command)
}

struct Queue {
    commands: Vec<(Command, Vec<Bytes>)>,
    /// A command was refused while queueing: EXEC must run nothing.
    broken: bool,
}

/// What one connection remembers.
pub(super) struct Session {
    id: i64,
    database: usize,
    queue: Option<Queue>,
    /// The client said QUIT.
    pub(super) closing: bool,
}

impl Session {
    pub(super) fn new(id: i64) -> Self {
        Self { id, database: 0, queue: None, closing: false }
    }

    /// Runs one complete command.
    pub(super) fn execute(&mut self, store: &Store, args: Vec<Bytes>) -> BytesFrame {
        self.try_execute(store, args).unwrap_or_else(|Failure(text)| BytesFrame::Error(text.into()))
    }

    fn try_execute(&mut self, store: &Store, args: Vec<Bytes>) -> Reply {
        let name = word(&args[0]);
        let command = match resolve(&name, &args) {
            Ok(command) => command,
            Err(failure) => {
                if let Some(queue) = &mut self.queue {
                    queue.broken = true;
                }
                return Err(failure);
            }
        };
        if let Some(queue) = &mut self.queue
            && !matches!(name.as_str(), "EXEC" | "DISCARD" | "MULTI" | "QUIT")
        {
            queue.commands.push((command, args));
            return Ok(simple("QUEUED"));
        }
        match command.run {
            Run::Session(run) => run(self, store, &args),
            Run::Key(run) => {
                let _together = store.gate.read().unwrap_or_else(PoisonError::into_inner);
                run(&store.database(self.database), &args)
            }
            Run::Keys(run) => {
                let _alone = store.gate.write().unwrap_or_else(PoisonError::into_inner);
                run(&store.database(self.database), &args)
            }
        }
    }
}

fn ping(_: &mut Session, _: &Store, args: &[Bytes]) -> Reply {
    match args {
        [_] => Ok(simple("PONG")),
        [_, text] => Ok(bulk(text.clone())),
        _ => fail("ERR wrong number of arguments for 'ping' command"),
    }
}

fn hello(session: &mut Session, _: &Store, args: &[Bytes]) -> Reply {
    match args.get(1).map(|version| strict_integer(version)) {
        None | Some(Some(2)) => {}
        // Clients take this as "speak RESP2".
        Some(Some(_)) => return fail("NOPROTO unsupported protocol version"),
        Some(None) => return fail("ERR Protocol version is not an integer or out of range"),
    }
    Ok(BytesFrame::Array(vec![
        bulk("server"),
        bulk("redis"),
        bulk("version"),
        bulk("7.0.0"),
        bulk("proto"),
        BytesFrame::Integer(2),
        bulk("id"),
        BytesFrame::Integer(session.id),
        bulk("mode"),
        bulk("standalone"),
        bulk("role"),
        bulk("master"),
        bulk("modules"),
        BytesFrame::Array(Vec::new()),
    ]))
}

fn select(session: &mut Session, _: &Store, args: &[Bytes]) -> Reply {
    match usize::try_from(integer(&args[1])?) {
        Ok(index) if index < DATABASES => {
            session.database = index;
            Ok(ok())
        }
        _ => fail("ERR DB index is out of range"),
    }
}

fn client(session: &mut Session, _: &Store, args: &[Bytes]) -> Reply {
    match word(&args[1]).as_str() {
        "SETINFO" | "SETNAME" | "NO-EVICT" | "NO-TOUCH" => Ok(ok()),
        "GETNAME" => Ok(BytesFrame::Null),
        "ID" => Ok(BytesFrame::Integer(session.id)),
        other => Err(Failure(format!("ERR unknown subcommand '{}'. Try CLIENT HELP.", other.escape_debug()))),
    }
}

fn info(_: &mut Session, _: &Store, _: &[Bytes]) -> Reply {
    Ok(bulk("# Server\r\nredis_version:7.0.0\r\nredis_mode:standalone\r\n# Replication\r\nrole:master\r\n"))
}

fn time(_: &mut Session, store: &Store, _: &[Bytes]) -> Reply {
    let now = store.database(0).now;
    let micros = now.rem_euclid(1000) * 1000;
    Ok(BytesFrame::Array(vec![bulk(now.div_euclid(1000).to_string()), bulk(micros.to_string())]))
}

fn quit(session: &mut Session, _: &Store, _: &[Bytes]) -> Reply {
    session.closing = true;
    Ok(ok())
}

fn multi(session: &mut Session, _: &Store, _: &[Bytes]) -> Reply {
    if session.queue.is_some() {
        return fail("ERR MULTI calls can not be nested");
    }
    session.queue = Some(Queue { commands: Vec::new(), broken: false });
    Ok(ok())
}

fn exec(session: &mut Session, store: &Store, _: &[Bytes]) -> Reply {
    let Some(queue) = session.queue.take() else { return fail("ERR EXEC without MULTI") };
    if queue.broken {
        return fail("EXECABORT Transaction discarded because of previous errors.");
    }
    let _alone = store.gate.write().unwrap_or_else(PoisonError::into_inner);
    let mut replies = Vec::with_capacity(queue.commands.len());
    for (command, args) in queue.commands {
        let reply = match command.run {
            Run::Key(run) | Run::Keys(run) => run(&store.database(session.database), &args),
            Run::Session(run) => run(session, store, &args),
        };
        replies.push(reply.unwrap_or_else(|Failure(text)| BytesFrame::Error(text.into())));
    }
    Ok(BytesFrame::Array(replies))
}

fn discard(session: &mut Session, _: &Store, _: &[Bytes]) -> Reply {
    match session.queue.take() {
        Some(_) => Ok(ok()),
        None => fail("ERR DISCARD without MULTI"),
    }
}
