//! Turns a function into a test.

use proc_macro2::TokenStream;
use quote::{ToTokens as _, quote};
use syn::parse::{Parse, ParseStream};
use syn::punctuated::Punctuated;
use syn::{
    Attribute, Error, FnArg, ItemFn, LitInt, LitStr, Meta, PatType, Path, Result, ReturnType, Signature, Token, Type,
    parse_quote, parse2,
};

/// The options in the parentheses of the attribute.
#[derive(Default)]
struct Options {
    private: Option<Path>,
    clean: Option<Path>,
    members: Option<LitInt>,
    auth: Option<Path>,
    tls: Option<Path>,
    flavor: Option<LitStr>,
    worker_threads: Option<LitInt>,
    crate_path: Option<Path>,
}

const UNKNOWN: &str = "the options are `clean`, `private`, `members = N`, `tls`, `auth`, `flavor = \"current_thread\"` or `\"multi_thread\"`, \
                       `worker_threads = N` and `crate = \"path::to::etcd_sandbox\"`";

impl Parse for Options {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let mut options = Self::default();
        let given = Punctuated::<Meta, Token![,]>::parse_terminated(input);
        for option in given.map_err(|error| Error::new(error.span(), UNKNOWN))? {
            let name = option.path().get_ident().map(ToString::to_string).unwrap_or_default();
            let is_second = match (name.as_str(), &option) {
                ("clean", Meta::Path(path)) => options.clean.replace(path.clone()).is_some(),
                ("private", Meta::Path(path)) => options.private.replace(path.clone()).is_some(),
                ("auth", Meta::Path(path)) => options.auth.replace(path.clone()).is_some(),
                ("tls", Meta::Path(path)) => options.tls.replace(path.clone()).is_some(),
                ("members", Meta::NameValue(pair)) => options.members.replace(parse_value(&pair.value)?).is_some(),
                ("flavor", Meta::NameValue(pair)) => options.flavor.replace(parse_value(&pair.value)?).is_some(),
                ("worker_threads", Meta::NameValue(pair)) => {
                    options.worker_threads.replace(parse_value(&pair.value)?).is_some()
                }
                ("crate", Meta::NameValue(pair)) => options.crate_path.replace(parse_path(&pair.value)?).is_some(),
                _ => return Err(Error::new_spanned(option, UNKNOWN)),
            };
            if is_second {
                return Err(Error::new_spanned(option, format!("`{name}` is given twice")));
            }
        }
        Ok(options)
    }
}

fn parse_value<T: Parse>(value: &syn::Expr) -> Result<T> {
    parse2(value.to_token_stream())
}

/// With quotes, as `#[tokio::test]` has it, or without.
fn parse_path(value: &syn::Expr) -> Result<Path> {
    parse_value::<LitStr>(value).map_or_else(|_| parse_value(value), |text| text.parse())
}

impl Options {
    /// The runtime, as a variant of `etcd_sandbox::attribute::Flavor`. The rules are those of `#[tokio::test]`.
    fn flavor(&self) -> Result<TokenStream> {
        let worker_threads = self.worker_threads.as_ref();
        match self.flavor.as_ref().map(|flavor| (flavor, flavor.value())) {
            Some((_, name)) if name == "multi_thread" => match worker_threads.map(LitInt::base10_parse).transpose()? {
                Some(0_usize) => Err(Error::new_spanned(worker_threads, "`worker_threads` may not be 0")),
                Some(number) => Ok(quote!(MultiThread(Some(#number)))),
                None => Ok(quote!(MultiThread(None))),
            },
            Some((flavor, name)) if name != "current_thread" => {
                let unknown = "is not a runtime flavor; the flavors are `current_thread` and `multi_thread`";
                Err(Error::new_spanned(flavor, format!("`{name}` {unknown}")))
            }
            _ if worker_threads.is_some() => {
                let missing = "`worker_threads` requires `flavor = \"multi_thread\"`";
                Err(Error::new_spanned(worker_threads, missing))
            }
            _ => Ok(quote!(CurrentThread)),
        }
    }
}

impl Options {
    /// Which etcd, as a variant of `etcd_sandbox::attribute::Server`.
    fn server(&self, attribute: &TokenStream) -> Result<TokenStream> {
        let members = self.members.as_ref().map(LitInt::base10_parse).transpose()?.unwrap_or(1_usize);
        for (option, name) in [(&self.auth, "auth"), (&self.tls, "tls")] {
            if let (None, Some(option)) = (&self.private, option) {
                return Err(Error::new_spanned(option, format!("`{name}` requires `private`")));
            }
        }
        match (&self.private, &self.members) {
            (None, None) => Ok(quote!(Shared)),
            (None, Some(option)) => Err(Error::new_spanned(option, "`members` requires `private`")),
            (Some(_), Some(option)) if !matches!(members, 1 | 3 | 5 | 7) => {
                Err(Error::new_spanned(option, format!("an etcd of a test has 1, 3, 5 or 7 members, not {members}")))
            }
            (Some(_), _) => {
                let (tls, auth) = (self.tls.is_some(), self.auth.is_some());
                Ok(quote!(Private(#attribute::Private::default().members(#members).tls(#tls).auth(#auth))))
            }
        }
    }
}

/// Makes the test. `has_private`: whether the feature `private` of etcd-sandbox is enabled.
pub(crate) fn expand(options: TokenStream, item: TokenStream, has_private: bool) -> Result<TokenStream> {
    let options: Options = parse2(options)?;
    if let Some(private) = options.private.as_ref().filter(|_| !has_private) {
        let missing = "`private` needs the feature `private` of etcd-sandbox; in Cargo.toml, below [dev-dependencies]: \
                       etcd-sandbox = { version = \"…\", features = [\"private\"] }";
        return Err(Error::new_spanned(private, missing));
    }
    let mut test: ItemFn =
        parse2(item).map_err(|error| Error::new(error.span(), "`#[etcd_sandbox::test]` stands before a function"))?;
    check_attributes(&test.attrs)?;
    check_signature(&test.sig)?;
    let attribute = options.crate_path.clone().unwrap_or_else(|| parse_quote!(::etcd_sandbox));
    let attribute = quote!(#attribute::attribute);
    let (server, flavor) = (options.server(&attribute)?, options.flavor()?);
    if let (Some(option), None) = (&options.flavor, test.sig.asyncness) {
        let needless = "`flavor` is for an async function: other functions run without a runtime";
        return Err(Error::new_spanned(option, needless));
    }
    let (name, output, visibility) = (test.sig.ident.clone(), test.sig.output.clone(), test.vis.clone());
    let attributes = std::mem::take(&mut test.attrs);
    let should_panic = attributes.iter().any(|one| is_named(one, &["should_panic"]));
    if let (Some(clean), true) = (&options.clean, should_panic) {
        let useless = "`clean` is for a test that passes: a test that should panic cannot remove its keys";
        return Err(Error::new_spanned(clean, useless));
    }
    let leave = if options.clean.is_some() { quote!(Nothing) } else { quote!(Any) };
    let leave = (!should_panic).then(|| quote!(#attribute::Leave::#leave,));
    let has_failed = (!should_panic).then(|| has_failed(&output, &attribute));
    let run = match (test.sig.asyncness.is_some(), should_panic) {
        (true, false) => quote!(run),
        (false, false) => quote!(run_blocking),
        (true, true) => quote!(run_to_panic),
        (false, true) => quote!(run_blocking_to_panic),
    };
    test.vis = syn::Visibility::Inherited;
    Ok(quote! {
        #(#attributes)*
        #[::core::prelude::v1::test]
        #visibility fn #name() #output {
            #test
            #attribute::#run(
                concat!(module_path!(), "::", stringify!(#name)),
                #attribute::Server::#server,
                #attribute::Flavor::#flavor,
                #leave
                #name,
                #has_failed
            )
        }
    })
}

/// A function that looks at what the test returns, and says whether it has failed.
fn has_failed(output: &ReturnType, attribute: &TokenStream) -> TokenStream {
    match output {
        ReturnType::Type(_, returned) if !matches!(**returned, Type::ImplTrait(_) | Type::Never(_)) => quote! {
            |returned: &#returned| {
                use #attribute::Failed as _;
                (&#attribute::Returned(returned)).has_failed()
            }
        },
        _ => quote!(|_| false),
    }
}

/// What to write if rstest gives the test its arguments.
const WITH_RSTEST: &str = "with rstest, which gives a test its arguments, write `#[tokio::test]` instead of \
                           `#[etcd_sandbox::test]`, and a fixture that calls `Sandbox::open_blocking`";

/// Refuses other attributes that make the function a test.
fn check_attributes(attributes: &[Attribute]) -> Result<()> {
    for attribute in attributes {
        if is_named(attribute, &["rstest", "case", "values", "apply"]) {
            return Err(Error::new_spanned(attribute, WITH_RSTEST));
        }
        if is_named(attribute, &["test"]) {
            let twice = "`#[etcd_sandbox::test]` makes the function a test and brings a runtime: remove this attribute";
            return Err(Error::new_spanned(attribute, twice));
        }
    }
    Ok(())
}

/// Whether the last part of the attribute's path is one of these names.
fn is_named(attribute: &Attribute, names: &[&str]) -> bool {
    attribute.path().segments.last().is_some_and(|last| names.iter().any(|name| last.ident == name))
}

/// Checks that the function takes a sandbox, and nothing else.
fn check_signature(signature: &Signature) -> Result<()> {
    let one_argument = "an `#[etcd_sandbox::test]` takes one argument, `sandbox: Sandbox`";
    if !signature.generics.params.is_empty() {
        return Err(Error::new_spanned(&signature.generics, "a test has no generic parameters"));
    }
    if let Some(unsafety) = &signature.unsafety {
        return Err(Error::new_spanned(unsafety, "a test is not unsafe: write an unsafe block in it"));
    }
    let mut arguments = signature.inputs.iter();
    match (arguments.next(), arguments.next()) {
        (None, _) => Err(Error::new_spanned(signature, format!("{one_argument}; {WITH_RSTEST}"))),
        (Some(FnArg::Receiver(receiver)), _) => Err(Error::new_spanned(receiver, "a method cannot be a test")),
        (Some(FnArg::Typed(PatType { attrs, .. })), _) if !attrs.is_empty() => {
            Err(Error::new_spanned(signature, WITH_RSTEST))
        }
        (_, Some(second)) => Err(Error::new_spanned(second, format!("{one_argument}; {WITH_RSTEST}"))),
        (Some(FnArg::Typed(PatType { ty, .. })), None) => match &**ty {
            Type::Reference(_) => Err(Error::new_spanned(ty, format!("{one_argument}, and no reference to it"))),
            _ => Ok(()),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::{TokenStream, expand};

    fn tokens(text: &str) -> TokenStream {
        text.parse().unwrap()
    }

    fn error(options: &str, item: &str) -> String {
        expand(tokens(options), tokens(item), false).unwrap_err().to_string()
    }

    #[test]
    fn functions_that_cannot_be_tests_are_refused() {
        let one_argument = "takes one argument, `sandbox: Sandbox`";
        for (item, words) in [
            ("async fn a() {}", [one_argument, "`#[tokio::test]`"]),
            ("async fn a(s: Sandbox, n: u32) {}", [one_argument, "`#[tokio::test]`"]),
            ("async fn a(s: &Sandbox) {}", [one_argument, "no reference"]),
            ("async fn a(&self) {}", ["a method", ""]),
            ("async unsafe fn a(s: Sandbox) {}", ["not unsafe", ""]),
            ("fn a<T>(s: T) {}", ["generic", ""]),
            ("struct A;", ["before a function", ""]),
            ("#[tokio::test] async fn a(s: Sandbox) {}", ["remove this attribute", "brings a runtime"]),
            ("#[test] fn a(s: Sandbox) {}", ["remove this attribute", ""]),
        ] {
            let said = error("", item);
            assert!(words.iter().all(|word| said.contains(word)), "{item}: {said}");
        }
    }

    #[test]
    fn beside_rstest_it_says_what_to_write() {
        for item in [
            "#[rstest::rstest] #[case(1)] async fn a(sandbox: Sandbox, #[case] key: u32) {}",
            "#[case(1)] async fn a(sandbox: Sandbox) {}",
            "async fn a(#[from(sandbox)] sandbox: Sandbox) {}",
            // If rstest comes first, it leaves this.
            "async fn case_1() {}",
        ] {
            let said = error("", item);
            assert!(
                said.contains("write `#[tokio::test]` instead") && said.contains("open_blocking"),
                "{item}: {said}"
            );
        }
    }

    const TEST: &str = "async fn a(sandbox: Sandbox) {}";

    fn expanded(options: &str) -> String {
        expand(tokens(options), tokens(TEST), true).unwrap().to_string()
    }

    #[test]
    fn options_are_known_or_refused() {
        for (options, words) in [
            ("shared", "the options are `clean`, `private`, `members = N`, `tls`, `auth`, `flavor ="),
            ("auth", "`auth` requires `private`"),
            ("tls", "`tls` requires `private`"),
            ("auth = true, private", "the options are"),
            ("private, auth, auth", "`auth` is given twice"),
            ("private = true", "the options are"),
            ("clean = true", "the options are"),
            ("clean, clean", "`clean` is given twice"),
            ("private(1)", "the options are"),
            ("start_paused = true", "the options are"),
            ("\"a\"", "the options are"),
            ("private, private", "`private` is given twice"),
            ("flavor = \"multi_thread\", flavor = \"multi_thread\"", "`flavor` is given twice"),
            ("flavor", "the options are"),
            ("flavor = 1", "expected string literal"),
            ("flavor = \"threaded\"", "`threaded` is not a runtime flavor; the flavors are `current_thread` and"),
            ("worker_threads = 2", "`worker_threads` requires `flavor = \"multi_thread\"`"),
            ("flavor = \"current_thread\", worker_threads = 2", "`worker_threads` requires"),
            ("flavor = \"multi_thread\", worker_threads = 0", "may not be 0"),
            ("flavor = \"multi_thread\", worker_threads = \"2\"", "expected integer literal"),
            ("crate = \"a b\"", "unexpected token"),
            ("crate = 1", "expected identifier"),
            ("members = 3", "`members` requires `private`"),
            ("members = \"3\"", "expected integer literal"),
            ("private", "needs the feature `private` of etcd-sandbox; in Cargo.toml"),
        ] {
            let said = error(options, TEST);
            assert!(said.contains(words), "{options}: {said}");
        }
        let said = error("flavor = \"multi_thread\"", "fn a(sandbox: Sandbox) {}");
        assert!(said.contains("is for an async function"), "{said}");
        for members in [0, 2, 4, 9] {
            let refused = expand(tokens(&format!("private, members = {members}")), tokens(TEST), true).unwrap_err();
            assert_eq!(refused.to_string(), format!("an etcd of a test has 1, 3, 5 or 7 members, not {members}"));
        }
        let expect = |options: &str, members: &str, tls: bool, auth: bool| {
            let wanted = format!("members ({members}usize) . tls ({tls}) . auth ({auth})");
            assert!(expanded(options).contains(&wanted), "{options}: {}", expanded(options));
        };
        expect("private", "1", false, false);
        expect("private, auth", "1", false, true);
        expect("tls, members = 3, private", "3", true, false);
    }

    #[test]
    fn the_runtime_is_as_the_options_say() {
        for (options, flavor) in [
            ("", "Flavor :: CurrentThread"),
            ("flavor = \"current_thread\"", "Flavor :: CurrentThread"),
            ("flavor = \"multi_thread\",", "Flavor :: MultiThread (None)"),
            ("worker_threads = 2, private, flavor = \"multi_thread\"", "Flavor :: MultiThread (Some (2usize))"),
        ] {
            assert!(expanded(options).contains(flavor), "{options}: {}", expanded(options));
        }
    }

    #[test]
    fn a_test_may_have_to_leave_nothing() {
        assert!(expanded("").contains("Leave :: Any") && expanded("clean").contains("Leave :: Nothing"));
        let said = error("clean", "#[should_panic] async fn a(sandbox: Sandbox) {}");
        assert!(said.contains("is for a test that passes"), "{said}");
    }

    /// A crate that re-exports etcd-sandbox need not have its users depend on it.
    #[test]
    fn all_paths_lead_through_the_crate_that_is_named() {
        assert!(expanded("").contains(":: etcd_sandbox :: attribute :: run"));
        for options in ["crate = \"my::reexport\"", "crate = my::reexport"] {
            let expanded = expanded(options);
            assert!(expanded.contains("my :: reexport :: attribute :: run"), "{expanded}");
            assert!(!expanded.contains("etcd_sandbox"), "{expanded}");
        }
    }

    #[test]
    fn attributes_stay_with_the_test() {
        let expanded = expand(tokens(""), tokens("#[should_panic] #[ignore] async fn a(sandbox: Sandbox) {}"), false);
        let expanded = expanded.unwrap().to_string();
        assert!(expanded.starts_with("# [should_panic] # [ignore] # [:: core"), "{expanded}");
        assert!(expanded.contains("run_to_panic") && expanded.contains("Server :: Shared"), "{expanded}");
    }
}
