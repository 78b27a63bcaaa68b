/** Why a token is likely: asked of the server, or found in a report. */
import type { Why, WhyMethod } from '../../lib/api';

export interface WhySource {
  methods: readonly WhyMethod[];
  /** For the token at this place; null: not there. */
  ask: (place: number, method: WhyMethod, signal: AbortSignal) => Promise<Why | null>;
}

export const METHODS: Record<WhyMethod, { label: string; says: string }> = {
  gradient_x_input: {
    label: 'Gradient × input',
    says: 'How the logit would move if a token’s vector grew a little. Quick, and only true nearby.',
  },
  integrated_gradients: {
    label: 'Integrated gradients',
    says: 'The same along the whole way from a text that says nothing; the shares add up to the difference between the two.',
  },
  leave_one_out: {
    label: 'Leave one out',
    says: 'The text read again without each token in turn. The plainest answer, but it does not add up.',
  },
};
