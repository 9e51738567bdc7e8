//! The supported numbers of parameters.

/// Calls a macro with a list for each number of parameters, three states and eight inputs at most: for each parameter a type, a
/// variable, and the kind of the type.
macro_rules! for_each_arity {
    ($callback:ident) => {
        $callback! {
            []
            [A a Ka]
            [A a Ka B b Kb]
            [A a Ka B b Kb C c Kc]
            [A a Ka B b Kb C c Kc D d Kd]
            [A a Ka B b Kb C c Kc D d Kd E e Ke]
            [A a Ka B b Kb C c Kc D d Kd E e Ke F f Kf]
            [A a Ka B b Kb C c Kc D d Kd E e Ke F f Kf G g Kg]
            [A a Ka B b Kb C c Kc D d Kd E e Ke F f Kf G g Kg H h Kh]
            [A a Ka B b Kb C c Kc D d Kd E e Ke F f Kf G g Kg H h Kh I i Ki]
            [A a Ka B b Kb C c Kc D d Kd E e Ke F f Kf G g Kg H h Kh I i Ki J j Kj]
            [A a Ka B b Kb C c Kc D d Kd E e Ke F f Kf G g Kg H h Kh I i Ki J j Kj L l Kl]
        }
    };
}

pub(crate) use for_each_arity;
