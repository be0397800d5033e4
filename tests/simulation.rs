//! The simulations, as a binary of their own: many seeds want one that is optimised.

#[cfg(test)]
mod flow {
    #[allow(dead_code, unused_imports, reason = "the ladders need all of the kit")]
    pub(crate) mod kit;
    pub(crate) mod routes;
    pub(crate) mod trunk;
}
#[cfg(test)]
mod sim;
