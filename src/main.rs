//! Command line: what campon can be told to do, and the exit code.

use std::fmt::Display;
use std::io::{self, Write as _};
use std::process::ExitCode;

use campon::config::{Arguments, Config, Origin};
use campon::io::{End, Wish, ask_api, fetch_status, serve};
use clap::builder::NonEmptyStringValueParser;
use clap::{Args, CommandFactory as _, Parser, Subcommand};
use ureq::http::Uri;

/// Gives memory back to the system when calls have ended.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Nobody was left waiting.
const CLEAN: u8 = 0;
/// Something was left at the stop, or the start failed, or nobody answered.
const FAILED: u8 = 1;
/// The operator erred: in the configuration or in the arguments.
const OPERATOR: u8 = 2;

const EXAMPLES: &str = "\
Examples:
  campon serve                            a registrar on 127.0.0.1:5060; two softphones can call
  campon serve --listen 127.0.0.1:5060 --upstream sip:127.0.0.1:5070
                                          in front of a PBX, without a file
  campon check /etc/campon.toml           is this configuration fine, and what does it mean?
  campon route sip:0049301@example.org --config /etc/campon.toml
                                          where would this call go, and why?
  campon status --json                    what does the running campon hold?

Exit codes:
  0  all went well; nobody was left waiting
  1  calls were left at the stop, or the start failed, or nobody answered, or the running
     campon refused
  2  the configuration or an argument is wrong: one line says where and why

Signals:
  SIGINT or SIGTERM once: no new calls; campon ends with the last call. Twice: it hangs up.
  SIGHUP: reads the configuration anew, and opens its files anew.";

/// SIP back-to-back user agent that stands in front of a PBX, or serves phones by itself.
#[derive(Debug, Parser)]
#[command(name = "campon", version, after_help = EXAMPLES)]
struct CommandLine {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serves phones until SIGINT or SIGTERM.
    Serve {
        /// The configuration; without it, a registrar on loopback that anybody may register at.
        #[arg(long, value_name = "FILE")]
        config: Option<String>,
        /// Listens here by UDP and TCP, instead of where the file says; may be repeated.
        #[arg(long, value_name = "IP[:PORT]")]
        listen: Vec<String>,
        /// Stands in front of the PBX at sip:IP[:PORT][;transport=udp|tcp].
        #[arg(long, value_name = "SIP-URI")]
        upstream: Option<String>,
    },
    /// Checks a configuration, and says what it means.
    Check {
        /// The configuration.
        file: String,
    },
    /// Says where a request would go by a configuration, and why; sends nothing.
    Route {
        /// The Request-URI, such as sip:0049301234@example.org.
        uri: String,
        /// The configuration; without it, the defaults.
        #[arg(long, value_name = "FILE")]
        config: Option<String>,
        /// The method.
        #[arg(long, default_value = "INVITE")]
        method: String,
        /// Who sends it: `registered`, the name of a peer, or an IP address.
        #[arg(long, value_name = "WHO", default_value = "registered")]
        from: String,
        /// The site, where the configuration has several.
        #[arg(long, value_name = "NAME")]
        site: Option<String>,
    },
    /// Has a call of a running campon completed.
    Complete {
        /// The call, by its id.
        #[arg(value_parser = NonEmptyStringValueParser::new())]
        call: String,
        /// How: callback, camp_on, intrude or message.
        #[arg(long, default_value = "callback")]
        mode: String,
        /// The number of the text, for message.
        #[arg(long, value_name = "NUMBER")]
        message: Option<u32>,
        #[command(flatten)]
        api: Api,
    },
    /// Shows who waits for whom at a running campon.
    Completions {
        #[command(subcommand)]
        what: Completions,
    },
    /// Shows what a running campon holds and has counted.
    Status {
        /// Prints the JSON document instead of tables.
        #[arg(long)]
        json: bool,
        /// Where the API of that campon listens.
        #[arg(
            long,
            value_name = "URL",
            default_value = "http://127.0.0.1:5080",
            value_parser = api_url
        )]
        api: String,
        /// The site, where that campon has several; all together without it.
        #[arg(long, value_name = "NAME")]
        site: Option<String>,
    },
}

#[derive(Debug, Subcommand)]
enum Completions {
    /// Takes a request back.
    Cancel {
        /// The request, by its id.
        #[arg(value_parser = NonEmptyStringValueParser::new())]
        id: String,
        #[command(flatten)]
        api: Api,
    },
    /// Lists the requests.
    List {
        #[command(flatten)]
        api: Api,
    },
    /// Shows a request with its story.
    Show {
        /// The request, by its id.
        #[arg(value_parser = NonEmptyStringValueParser::new())]
        id: String,
        #[command(flatten)]
        api: Api,
    },
}

/// Which campon, and who asks.
#[derive(Args, Debug)]
struct Api {
    /// Where the API of that campon listens.
    #[arg(
        long = "api",
        value_name = "URL",
        default_value = "http://127.0.0.1:5080",
        value_parser = api_url
    )]
    url: String,
    /// The site, where that campon has several.
    #[arg(long, value_name = "NAME")]
    site: Option<String>,
    /// The file that holds the bearer token.
    #[arg(long, value_name = "FILE")]
    token_file: Option<String>,
}

impl Completions {
    fn into_wish(self) -> (Wish, Api) {
        match self {
            Self::Cancel { id, api } => (Wish::Cancel(id), api),
            Self::List { api } => (Wish::List, api),
            Self::Show { id, api } => (Wish::Show(id), api),
        }
    }
}

fn main() -> ExitCode {
    let code = match CommandLine::parse().command {
        None => print(CommandLine::command().render_help()),
        Some(Command::Serve {
            config,
            listen,
            upstream,
        }) => run_serve(config.as_deref(), &Arguments { listen, upstream }),
        Some(Command::Check { file }) => run_check(&file),
        Some(Command::Route {
            uri,
            config,
            method,
            from,
            site,
        }) => run_route((config.as_deref(), site.as_deref()), &uri, &method, &from),
        Some(Command::Complete {
            call,
            mode,
            message,
            api,
        }) => {
            let wish = Wish::Complete {
                call,
                mode,
                message,
            };
            run_wish(&wish, &api)
        }
        Some(Command::Completions { what }) => {
            let (wish, api) = what.into_wish();
            run_wish(&wish, &api)
        }
        Some(Command::Status { json, api, site }) => {
            run_status(json, &at_site(&api, site.as_deref()))
        }
    };
    ExitCode::from(code)
}

fn run_serve(file: Option<&str>, arguments: &Arguments) -> u8 {
    let read = Origin::read(file, arguments).and_then(|origin| Ok((origin.sites()?, origin)));
    let (sites, origin) = match read {
        Ok(read) => read,
        Err(error) => return complain(error, OPERATOR),
    };
    match serve(sites, origin) {
        Ok(End::Clean) => CLEAN,
        Ok(End::Left) => FAILED,
        Err(error) => complain(error, FAILED),
    }
}

fn run_check(file: &str) -> u8 {
    match Config::load(Some(file), &Arguments::default()) {
        Ok(sites) => {
            let shown = sites.iter().map(|site| format!("{site}\n"));
            let shown: Vec<_> = shown.collect();
            print(format_args!("{}{file} is fine", shown.join("\n")))
        }
        Err(error) => complain(error, OPERATOR),
    }
}

fn run_route(
    (file, site): (Option<&str>, Option<&str>),
    uri: &str,
    method: &str,
    from: &str,
) -> u8 {
    let sites = match Config::load(file, &Arguments::default()) {
        Ok(sites) => sites,
        Err(error) => return complain(error, OPERATOR),
    };
    let mut found = sites.iter().filter(|it| it.site.as_deref() == site);
    let Some(config) = found.next() else {
        let names: Vec<_> = sites.iter().filter_map(|it| it.site.as_deref()).collect();
        let why = match &*names {
            [] => "--site: the configuration has no sites".to_owned(),
            names => format!("--site: one of {}", names.join(", ")),
        };
        return complain(why, OPERATOR);
    };
    match config.explain_route(uri, method, from) {
        Ok(text) => print(text),
        Err(why) => complain(why, OPERATOR),
    }
}

/// Where a site of several is asked.
fn at_site(api: &str, site: Option<&str>) -> String {
    let api = api.trim_end_matches('/');
    site.map_or_else(|| api.to_owned(), |site| format!("{api}/sites/{site}"))
}

fn run_status(json: bool, api: &str) -> u8 {
    match fetch_status(api) {
        Ok(status) if json => print(status.to_json()),
        Ok(status) => print(status),
        Err(error) => complain(error, FAILED),
    }
}

/// Where an API can be: it has no TLS.
fn api_url(text: &str) -> Result<String, &'static str> {
    let uri: Option<Uri> = text.parse().ok();
    let is_one = uri.is_some_and(|it| it.scheme_str() == Some("http") && it.host().is_some());
    is_one
        .then(|| text.to_owned())
        .ok_or("it has to be http://HOST:PORT")
}

fn run_wish(wish: &Wish, api: &Api) -> u8 {
    let token = api.token_file.as_ref().map(std::fs::read_to_string);
    let token = match token.transpose() {
        Ok(token) => token,
        Err(error) => return complain(format_args!("the token cannot be read: {error}"), OPERATOR),
    };
    let is_token = |text: &str| !text.is_empty() && text.bytes().all(|it| it.is_ascii_graphic());
    if !token.as_deref().is_none_or(|text| is_token(text.trim())) {
        return complain("the token is not one line of visible characters", OPERATOR);
    }
    let at = at_site(&api.url, api.site.as_deref());
    match ask_api(&at, token.as_deref(), wish) {
        Ok(text) => print(text),
        Err(error) => complain(error, FAILED),
    }
}

/// To the standard output; a reader who has gone, as `head` does, is no failure.
fn print(text: impl Display) -> u8 {
    match writeln!(io::stdout(), "{text}") {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => FAILED,
        Ok(()) | Err(_) => CLEAN,
    }
}

/// One line on the standard error.
fn complain(error: impl Display, code: u8) -> u8 {
    drop(writeln!(io::stderr(), "campon: {error}"));
    code
}
