//! The report: a page that stands alone and needs neither a script nor a connection.

use std::fmt::Write as _;

use crate::insights::{Insights, escaped};

const STYLE: &str = "\
:root{color-scheme:light dark}body{font:15px/1.5 system-ui,sans-serif;margin:0 auto;max-width:1280px;padding:24px 20px;\
background:#fff;color:#1f2430}h1{font-size:22px}h2{font-size:18px;margin-top:36px}svg{max-width:100%;height:auto}\
pre{overflow-x:auto;font:13px/1.5 ui-monospace,monospace;background:#f4f5f8;padding:14px;border-radius:8px}\
figure{margin:16px 0;overflow-x:auto}.faint{color:#5b6170}\
@media(prefers-color-scheme:dark){body{background:#14171d;color:#e8eaf0}pre{background:#20242d}.faint{color:#a3aab8}}";

/// Returns the name of the program.
pub(super) fn program() -> String {
    let path = std::env::current_exe().ok();
    let name = path.as_deref().and_then(|path| path.file_name());
    name.map_or_else(|| "a program".to_owned(), |name| name.to_string_lossy().into_owned())
}

/// Writes the report of some pools.
pub(super) fn of(pools: &[Insights]) -> String {
    let program = escaped(&program());
    let mut page = format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" \
         content=\"width=device-width, initial-scale=1\"><title>Report of {program}</title><style>{STYLE}</style></head><body><main>\
         <h1>Report of {program}</h1><p class=\"faint\">Process {}, {}.</p>",
        std::process::id(),
        match pools.len() {
            1 => "one pool".to_owned(),
            count => format!("{count} pools"),
        },
    );
    for pool in pools {
        // Writing to a string cannot fail.
        let _ = write!(page, "<section><h2>Pool {}</h2>", escaped(pool.pool().unwrap_or_default()));
        if let Some(svg) = pool.timeline() {
            // Ids have to differ within the page.
            let _ = write!(
                page,
                "<figure>{}</figure>",
                svg.replace(" aria-labelledby=\"t d\"", "")
                    .replace(" id=\"t\"", "")
                    .replace(" id=\"d\"", "")
            );
        }
        let _ = write!(
            page,
            "<pre tabindex=\"0\">{}</pre></section>",
            pool.to_string().split('\n').map(escaped).collect::<Vec<_>>().join("\n")
        );
    }
    page.push_str("</main></body></html>\n");
    page
}
